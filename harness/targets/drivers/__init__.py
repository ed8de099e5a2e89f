"""One module per local broker that mqproof can start."""
