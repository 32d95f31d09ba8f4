"""Notifications by mail."""
