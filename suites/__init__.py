"""The conformance tests: one file is one section or feature."""
