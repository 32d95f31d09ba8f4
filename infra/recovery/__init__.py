"""The restore of a stage from its backups."""
