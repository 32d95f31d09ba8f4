"""What every other layer may use: settings, errors, security, clock, logs, AWS access."""
