"""mqproof: does a message broker keep its promises, at what cost on the wire, under which load."""
