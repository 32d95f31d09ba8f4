"""Routes of zip archives."""
