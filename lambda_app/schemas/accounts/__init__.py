"""Models of accounts, sessions and API keys."""
