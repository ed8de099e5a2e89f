"""A protocol-aware proxy that breaks one promise at a time."""
