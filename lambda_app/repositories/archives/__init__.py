"""Queries on archives."""
