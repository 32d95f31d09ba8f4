"""We-Upload: a multi-user file upload and sharing API for AWS Lambda."""

__version__ = "0.2.0"
