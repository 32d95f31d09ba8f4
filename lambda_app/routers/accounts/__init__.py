"""Routes of accounts: sign-in, users, sessions, API keys."""
