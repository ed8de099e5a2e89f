"""Chaos for users' own applications: messages and connections disturbed between them and their broker."""
