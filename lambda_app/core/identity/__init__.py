"""Sign-in with identity providers: settings, requests and tokens (docs/adr/0041-identity-providers.md)."""
