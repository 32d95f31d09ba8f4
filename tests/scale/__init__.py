"""Tests on a database with a million files: no statement of a route may read more than a bounded number of blocks."""
