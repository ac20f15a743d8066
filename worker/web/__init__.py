"""The web process: the token interface for applications, and what operators watch."""
