"""HTTP infrastructure of the routes: middleware, error rendering, security headers, paging, the OpenAPI document."""
