"""Zip archives: requests, builds and the sweep."""
