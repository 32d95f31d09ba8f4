"""Requests and responses about accounts."""
