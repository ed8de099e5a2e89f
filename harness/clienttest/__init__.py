"""Judges clients: the embedded broker serves them, and their traffic is held against the statements that bind them."""
