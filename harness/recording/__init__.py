"""Recording the packets of a run."""
