"""The HTTP layer: routes, middleware and pages."""
