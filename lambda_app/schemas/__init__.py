"""Pydantic shapes at the border: what a caller may send and what we answer."""
