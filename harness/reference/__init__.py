"""Small brokers that follow the specifications exactly; in memory, and they say so."""
