"""We-Upload: a multi-user file upload and sharing API for AWS Lambda."""

__version__ = "0.1.0"
