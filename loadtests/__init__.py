"""Locust users and scenarios with a ledger."""
