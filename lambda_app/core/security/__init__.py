"""Proofs of identity: passwords and access tokens."""
