"""Models of share links, grants and file requests."""
