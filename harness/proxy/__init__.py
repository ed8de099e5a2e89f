"""A TCP proxy that passes bytes, resets and half-closes faithfully."""
