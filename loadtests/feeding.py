"""Locust's statistics, fed in bulk: its web UI, its CSV, its HTML and its distributed mode see what the engine does."""

import time
from typing import Any

import numpy as np
from locust.env import Environment
from locust.stats import bucket_response_time
from mqproof.loadtests.engine.tracker import value_of

PUBLISH, END_TO_END = "publish", "end to end"


class Feed:
    """Enters what happened since the last time into Locust's statistics, in milliseconds as it wants them."""

    def __init__(self, environment: Environment, protocol: str, payload: int) -> None:
        self._stats, self._method, self._payload = environment.stats, protocol.upper(), payload

    def __call__(self, published: int, buckets: Any) -> None:
        """Enter so many messages published and the latencies of those that arrived (counts by bucket)."""
        entries = self._stats.get(PUBLISH, self._method), self._stats.total
        for entry in entries:
            _count(entry, published, published * self._payload)
            entry.num_none_requests += published
        held = [(value_of(int(index)) / 1000, int(buckets[index])) for index in np.flatnonzero(buckets)]
        if not held:
            return
        for entry in (self._stats.get(END_TO_END, self._method), self._stats.total):
            _count(entry, sum(count for _, count in held), sum(count for _, count in held) * self._payload)
            _latencies(entry, held)

    def failed(self, what: str) -> None:
        """Enter one error."""
        self._stats.log_error(self._method, END_TO_END, what)


def _count(entry: Any, count: int, octets: int) -> None:
    now = time.time()
    entry.num_requests += count
    entry.num_reqs_per_sec[int(now)] += count
    entry.last_request_timestamp = now
    entry.total_content_length += octets


def _latencies(entry: Any, held: list[tuple[float, int]]) -> None:
    for milliseconds, count in held:
        entry.response_times[bucket_response_time(milliseconds)] += count
    entry.total_response_time += sum(milliseconds * count for milliseconds, count in held)
    lowest, highest = held[0][0], held[-1][0]
    entry.min_response_time = lowest if entry.min_response_time is None else min(entry.min_response_time, lowest)
    entry.max_response_time = max(entry.max_response_time, highest)
