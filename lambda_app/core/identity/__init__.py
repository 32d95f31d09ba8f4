"""Sign-in with identity providers: settings, requests and tokens (docs/adr/0040-identity-providers.md)."""
