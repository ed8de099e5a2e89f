"""Raw connections: exact bytes out, decoded frames in, every byte on a transcript."""
