"""Models of files, uploads and storage usage."""
