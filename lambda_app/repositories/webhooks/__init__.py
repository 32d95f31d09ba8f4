"""Queries on webhooks and their deliveries."""
