"""Checks of an AWS account before the first deployment. They only read."""
