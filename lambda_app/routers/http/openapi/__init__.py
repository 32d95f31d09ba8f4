"""The OpenAPI document: completes what FastAPI generates with what holds for all routes."""
