"""Published events."""
