"""Ports for local brokers: below the kernel's ephemeral range, free, and held against our own parallel processes."""

import random
import socket
from typing import Self

LOWEST, HIGHEST = 12000, 31999
"""Above the well-known broker ports, below 32768 where the kernel picks ports for outgoing connections."""

_random = random.SystemRandom()  # tests seed the common generator, and parallel workers with the same seed


class NoPort(OSError):
    """No free port was found."""


class Port:
    """A loopback port that no other mqproof process uses until ``release``.

    The number is held through a socket in Linux's abstract namespace, which vanishes with its process. Elsewhere
    only the look whether it can be bound protects it, and drivers try again on "address in use".
    """

    def __init__(self, number: int, lock: socket.socket | None) -> None:
        self.number = number
        self._lock = lock

    @classmethod
    def reserve(cls, attempts: int = 200) -> Self:
        """Return a port that nobody uses now. Raises NoPort."""
        for _ in range(attempts):
            number = _random.randint(LOWEST, HIGHEST)
            try:
                lock = _lock(number)
            except OSError:
                continue
            if _bindable(number):
                return cls(number, lock)
            if lock:
                lock.close()
        raise NoPort(f"no free port between {LOWEST} and {HIGHEST} on 127.0.0.1")

    def release(self) -> None:
        """Let other processes have the number."""
        if self._lock:
            self._lock.close()
            self._lock = None


def _lock(number: int) -> socket.socket | None:
    """Return a lock on the number. Raises OSError where another process has it."""
    try:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except (AttributeError, OSError):
        return None
    try:
        lock.bind(f"\0mqproof-port-{number}")
    except (FileNotFoundError, ValueError):  # no abstract namespace here
        lock.close()
        return None
    except OSError:
        lock.close()
        raise
    return lock


def _bindable(number: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True
