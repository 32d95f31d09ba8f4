"""Checks of the source tree that no standard linter makes; `make check` runs them."""
