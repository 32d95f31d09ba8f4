"""Requests to addresses that users choose."""
