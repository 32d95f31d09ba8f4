"""Routes of sharing: share links, grants, file requests and public uploads."""
