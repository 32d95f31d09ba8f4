"""The tests: unit (no socket), integration (real PostgreSQL and the S3 emulator), and what they share in support."""
