"""Queries on accounts."""
