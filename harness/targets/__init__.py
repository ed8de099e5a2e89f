"""Brokers under test, and the drivers that start local ones."""
