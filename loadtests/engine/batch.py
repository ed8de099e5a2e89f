"""Messages laid out in one piece of memory, ready to be written by one call."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from mqproof.loadtests.engine import kernels
from mqproof.loadtests.messages import SMALLEST

RUN = 16  # messages of one size after each other, where there are several


class Layout(Protocol):
    """Lays out messages of one publisher."""

    def lay_out(self, count: int, publisher: int, first: int, intended: int, step: float) -> memoryview:
        """Return the octets of ``count`` messages from number ``first`` on; times in ns."""


class Batch:
    """Rows of octets, each one message of which the payload's head (at ``at``) and an MQTT packet id change."""

    def __init__(self, rows: int, octets: bytes, at: int, payload: int, id_at: int = -1) -> None:
        self.rows: Any = np.tile(np.frombuffer(octets, np.uint8), (rows, 1))
        self.at, self.payload, self.id_at = at, payload, id_at

    def lay_out(self, count: int, publisher: int, first: int, intended: int, step: float) -> memoryview:
        """Return the octets of ``count`` messages, ready to be sent."""
        kernels.fill(self.rows, count, self.at, self.payload, publisher, first, intended, step, self.id_at)
        return memoryview(self.rows[:count]).cast("B")


class MixedBatch:
    """Messages of several sizes in turn: a message's number says its size, so that a repeat is the same message."""

    def __init__(self, batches: Sequence[Layout]) -> None:
        self._batches = batches

    def lay_out(self, count: int, publisher: int, first: int, intended: int, step: float) -> memoryview:
        """Return the octets of ``count`` messages, ready to be sent."""
        octets = bytearray()
        done = 0
        while done < count:
            number = first + done
            run = min(RUN - number % RUN, count - done)
            batch = self._batches[number // RUN % len(self._batches)]
            octets += batch.lay_out(run, publisher, number, intended + int(step * done), step)
            done += run
        return memoryview(octets)


def batch_of(sizes: Sequence[int], template: bytes, make: Callable[[int, bytes], Layout], rows: int) -> Layout:
    """Return what lays out payloads of these sizes; ``make`` gets the rows and the payload without its stamp."""
    batches = [make(rows if len(sizes) == 1 else RUN, payload_of(size, template)) for size in sizes]
    return batches[0] if len(batches) == 1 else MixedBatch(batches)


def payload_of(size: int, template: bytes) -> bytes:
    """Return a payload of which only the stamp is missing: the template behind it, repeated; zeros without one."""
    if not template:
        return bytes(size)
    room = max(size - SMALLEST, 0)
    return bytes(min(size, SMALLEST)) + (template * (room // len(template) + 1))[:room]
