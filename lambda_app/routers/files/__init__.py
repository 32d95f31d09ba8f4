"""Routes of files: upload, list, change, download."""
