"""The lowest layer, available to all others: settings, errors, security, clock, logging, mail, AWS access."""
