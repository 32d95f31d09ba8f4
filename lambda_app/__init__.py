"""We-Upload: a multi-user API for file upload and sharing on AWS Lambda."""

__version__ = "0.2.0"
