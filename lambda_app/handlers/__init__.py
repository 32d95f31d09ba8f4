"""The entry points of Lambda beside the API, one module each."""
