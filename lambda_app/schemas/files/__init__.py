"""Requests and responses about files."""
