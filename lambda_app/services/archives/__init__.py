"""Zip archives: requests, builds, the sweep."""
