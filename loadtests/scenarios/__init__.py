"""One module per load scenario."""
