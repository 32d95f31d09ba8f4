"""The object store, its keys, and the headers of uploads and downloads."""
