"""Servers, fakes and clients that several test modules use."""
