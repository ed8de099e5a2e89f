"""One consumer of the engine: receives, books, acknowledges; slow, clumsy or mortal where the traffic wants it so."""

import time
from typing import TYPE_CHECKING, Any

import gevent
import numpy as np
from mqproof.harness.ledger import NOT_SUBSCRIBED
from mqproof.loadtests.engine.flow import AGAIN
from mqproof.loadtests.engine.kernels import EMPTY, OWED_ACK, REPEAT
from mqproof.loadtests.engine.wire import Broken, Declined

if TYPE_CHECKING:
    from mqproof.loadtests.engine.stage import Stage

IDLE = 0.2  # seconds without octets, after which it looks whether all is over


class Consumer:
    """One consumer on one connection; ``path``: which one of its route's."""

    def __init__(self, stage: "Stage", route: int, path: int) -> None:
        self.stage, self.traffic, self.route, self.path = stage, stage.traffic, route, path
        self._wire: Any = stage.plumbing.consumer(route, path)
        self._owed: Any = None  # deliveries that are not acknowledged yet
        self._seen = 0
        self._heard = 0.0  # seconds after the start

    def run(self) -> None:
        """Receive until the end; a connection that ends is opened again."""
        while not self.stage.stopping.is_set():
            try:
                self._receive()
            except Broken as error:
                self.stage.book.failed(error)
            self._wire.socket.close()
            self._owed = None
            if not self.stage.stopping.is_set():
                self._open_again()
        self._flush()
        self._wire.close()

    def _open_again(self) -> None:
        """Subscribe again; where the queue went with its consumer, what is published meanwhile is nobody's loss."""
        began = time.monotonic()
        first = self.stage.trackers[self.route].highest() + 1
        while not self.stage.stopping.is_set():
            gevent.sleep(AGAIN)
            try:
                self._wire = self.stage.plumbing.consumer(self.route, self.path)
                break
            except Broken as error:
                self.stage.book.failed(error)
                if isinstance(error, Declined) and "404" in str(error):
                    self.stage.note_queue_gone(self.route)
        if not self.stage.keeps_messages:
            self.stage.excuse_gap(NOT_SUBSCRIBED, self.route, first)
        self.stage.note_outage(f"consumer {self.route * self.traffic.consumers + self.path + 1}", began)

    def _receive(self) -> None:
        mortal = self.traffic.crash and self.path == 0
        crash = time.monotonic() + self.traffic.crash if mortal else float("inf")
        self._heard = self.stage.passed
        messages, events = self._wire.walk()
        self._take(messages, events)
        while not self.stage.stopping.is_set():
            if self.traffic.poll:
                self._wire.poll()
            messages, events, octets = self._wire.receive(IDLE)
            if not octets:
                self._flush()
                if self.traffic.patience and self.stage.passed - self._heard > self.traffic.patience:
                    self.stage.book.count("consumers that gave up waiting for messages")
                    return
            else:
                self._heard = self.stage.passed
            empty = bool((events[:, 0] == EMPTY).any())
            while len(messages) or len(events):
                if self.traffic.work:
                    if not self._work(messages.copy(), events.copy(), crash):
                        self._crashed()
                        return
                else:
                    self._take(messages, events)
                messages, events = self._wire.walk()
            gevent.sleep(self.traffic.poll if empty else 0)

    def _take(self, messages: Any, events: Any) -> None:
        self._wire.check(events)
        if len(messages):
            self.stage.arrived(self.route, self.path, messages)
        self._settle(messages, events)

    def _settle(self, messages: Any, events: Any) -> None:
        """Acknowledge what was delivered: at once, so many together, or refuse one now and then."""
        if self.traffic.nack_every:
            self._refuse_some(messages, events)
        elif not self.traffic.ack_every:
            self._wire.acknowledge(events)
        else:
            owed = events.copy() if self._owed is None else np.concatenate((self._owed, events))
            self._owed = owed
            if len(owed) >= self.traffic.ack_every:
                self._flush()

    def _flush(self) -> None:
        if self._owed is not None and len(self._owed):
            owed, self._owed = self._owed, None
            try:
                self._wire.acknowledge(owed)
            except Broken as error:
                self.stage.book.failed(error)

    def _refuse_some(self, messages: Any, events: Any) -> None:
        """Refuse every so many messages, but none that has come before: it would never come to an end."""
        owed = events[events[:, 0] == OWED_ACK]
        for index, tag in enumerate(owed[:, 1].tolist()):
            self._seen += 1
            is_repeat = index < len(messages) and bool(messages[index, 3] & REPEAT)
            if self._seen % self.traffic.nack_every == 0 and not is_repeat:
                self._wire.acknowledge(owed[:index])
                self._wire.refuse(tag, requeue=self.traffic.requeue)
                self.stage.book.count("refused by the consumer")
                owed[: index + 1, 0] = -1
        self._wire.acknowledge(owed)

    def _work(self, messages: Any, events: Any, crash: float) -> bool:
        """Take one at a time, as a worker does, and acknowledge each when its work is done.

        Return False where it is time to crash: in mid-task, before the acknowledgement.
        """
        self._wire.check(events)
        owed = events[events[:, 0] != EMPTY]
        for index in range(len(messages)):
            self.stage.arrived(self.route, self.path, messages[index : index + 1])
            gevent.sleep(self.traffic.work)
            if time.monotonic() > crash and not self.stage.ended.is_set():
                return False
            self._settle(messages[index : index + 1], owed[index : index + 1])
        self._settle(messages[:0], owed[len(messages) :])
        return True

    def _crashed(self) -> None:
        self.stage.book.count("workers cut off in mid-task")
        self.stage.cut[self.route] = time.monotonic()

    @property
    def octets(self) -> tuple[int, int]:
        """Octets in and out of this connection."""
        return self._wire.octets_in, self._wire.octets_out
