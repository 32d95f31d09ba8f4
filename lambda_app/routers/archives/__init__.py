"""Routes of archives: several files as one zip."""
