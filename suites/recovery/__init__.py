"""Crash and recovery tests for brokers that mqproof started."""
