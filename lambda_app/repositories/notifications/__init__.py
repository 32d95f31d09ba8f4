"""Queries on notifications by mail."""
