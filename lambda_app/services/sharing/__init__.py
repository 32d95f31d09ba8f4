"""Sharing: share links, grants, file requests and public uploads."""
