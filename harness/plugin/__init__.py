"""The pytest plugin: options, markers, fixtures, outcomes."""
