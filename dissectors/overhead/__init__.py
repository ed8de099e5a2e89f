"""The byte account: every byte of a capture booked exactly once."""
