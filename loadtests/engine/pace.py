"""So many connections a second."""

import time

import gevent


class Pace:
    """So many connections a second; 0: no limit."""

    def __init__(self, rate: float) -> None:
        self._step = 1 / rate if rate else 0.0
        self._next = time.monotonic()

    def wait(self) -> None:
        """Return when the next one may be opened."""
        if self._step:
            gevent.sleep(max(0.0, self._next - time.monotonic()))
            self._next += self._step
