"""The deployment package: the contents of the Lambda zip and its reproducible build."""
