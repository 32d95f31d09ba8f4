"""Tests of webhooks with receivers on 127.0.0.1."""
