"""Accounts: users, sign-in, sessions, API keys, recovery."""
