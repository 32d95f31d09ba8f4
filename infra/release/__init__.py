"""Steps of a release that run with the deployer's credentials."""
