"""The engine for pressure: plain sockets under gevent, batches laid out and read by compiled kernels."""
