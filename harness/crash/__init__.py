"""Crashes, pauses, cuts, partitions and full queues under load, and what became of every message."""
