"""Routes of accounts: sign-in, users, sessions and API keys."""
