"""The transfer of bytes: sources, lanes, uploads and downloads."""
