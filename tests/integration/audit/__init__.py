"""Tests of the audit log on a real PostgreSQL and S3 emulator."""
