"""What the bytes mean: codecs, scapy layers, capture files and the byte account. No sockets, no clocks."""
