"""Files: uploads, their verification, changes, quotas, the sweep."""
