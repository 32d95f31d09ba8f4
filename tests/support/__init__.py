"""What tests share: servers, fakes and doors into the application."""
