"""The deployment package: what goes into the Lambda zip, and how it is made the same every time."""
