"""The other Lambda entry points: S3's events and the sweep. They know nothing of HTTP."""
