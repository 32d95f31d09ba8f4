"""Queries on published events."""
