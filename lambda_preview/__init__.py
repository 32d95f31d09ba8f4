"""Previews of files: the worker that decodes untrusted bytes. It shares no code and no credentials with `lambda_app`."""
