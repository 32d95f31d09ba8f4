"""Every query. Repositories flush after writing, never commit, and translate violations by constraint name."""
