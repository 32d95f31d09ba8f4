"""Queries on sharing."""
