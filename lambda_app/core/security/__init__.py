"""Credentials: passwords, access tokens, random tokens, share tokens, and the keys that sign them."""
