"""Routes of sharing: links, grants, file requests, public uploads."""
