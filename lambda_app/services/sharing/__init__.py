"""Sharing: links, grants, file requests, public uploads."""
