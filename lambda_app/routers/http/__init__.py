"""What stands between the gateway and the routes: middleware, errors, security headers, paging, OpenAPI."""
