"""We-Upload on a laptop: an embedded PostgreSQL, an S3 emulator and the API, with one command."""
