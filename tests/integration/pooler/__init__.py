"""The API while its database, or what stands before it, is taken away in mid-request."""
