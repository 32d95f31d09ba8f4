"""The local run: an embedded PostgreSQL, an S3 emulator, the workers and the API, started by one command."""
