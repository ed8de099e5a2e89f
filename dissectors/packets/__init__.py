"""Capture files, link layers and TCP reassembly."""
