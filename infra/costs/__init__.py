"""The cost tables of docs/deploy.md, computed from a file of prices."""
