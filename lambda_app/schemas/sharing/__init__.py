"""Requests and responses about sharing."""
