"""The entry points of the Lambda functions other than the API, one module each. They are independent of HTTP."""
