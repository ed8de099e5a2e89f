"""The consumers of one queue, and whose turn it is."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mqproof.harness.reference.amqp.message import Entry

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.channel import Channel
    from mqproof.harness.reference.amqp.queue import Queue


@dataclass(slots=True, eq=False)
class Consumer:
    """One basic.consume. ``outstanding`` and ``outstanding_octets`` count what it was sent and has not settled."""

    channel: "Channel"
    queue: "Queue"
    tag: str
    no_ack: bool = False
    no_local: bool = False
    exclusive: bool = False
    priority: int = 0
    prefetch_count: int = 0
    prefetch_size: int = 0
    outstanding: int = 0
    outstanding_octets: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)

    def has_room(self, entry: Entry) -> bool:
        """Tell whether the prefetch windows and the channel's flow let this entry through now."""
        return self.channel.has_room(self, entry)

    def accepts(self, entry: Entry) -> bool:
        """Tell whether this consumer may have the entry at all.

        Not its own connection's when it asked for no-local (domain no-local: the server does not send messages to the
        connection that published them; here they wait for another consumer), and not what its channel has just rejected
        (rule basic.reject.requeue/01), and not what has a content header larger than its connection's frames: a header
        cannot be split (4.2.3/never-oversized).
        """
        if not self.channel.connection.fits(entry.message.header):
            return False
        if entry.held_from and self.channel in entry.held_from:
            return False
        return not (self.no_local and entry.message.publisher is self.channel.connection)


class Rotation:
    """Consumers take turns, higher x-priority first (statements consumer-priority/01 and 02).

    A consumer without room is parked: it costs nothing until :meth:`unpark`. With ``single_active`` only the one that
    came first receives (statement single-active-consumer/01), and its priority plays no part.
    """

    def __init__(self, *, single_active: bool = False) -> None:
        self._single_active = single_active
        self._all: dict[Consumer, None] = {}
        self._turns: dict[int, deque[Consumer]] = {}
        self._parked: set[Consumer] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Consumer]:
        return iter(list(self._all))

    @property
    def waiting(self) -> bool:
        """Whether any consumer might have room."""
        return len(self._parked) < len(self._all)

    def add(self, consumer: Consumer) -> None:
        """Take a consumer; its turn comes last."""
        self._all[consumer] = None
        self._join(consumer)

    def remove(self, consumer: Consumer) -> None:
        """Forget a consumer, if it is here."""
        if consumer not in self._all:
            return
        del self._all[consumer]
        if consumer in self._parked:
            self._parked.discard(consumer)
        else:
            self._leave(consumer)

    def unpark(self, consumer: Consumer) -> None:
        """Let a consumer take turns again: it may have room now."""
        if consumer in self._parked:
            self._parked.discard(consumer)
            self._join(consumer)

    def choose(self, entry: Entry) -> Consumer | None:
        """Return the consumer whose turn it is and that can take the entry, or None."""
        if self._single_active:
            active = next(iter(self._all), None)
            takes = active is not None and active.accepts(entry) and self._room(active, entry)
            return active if takes else None
        for line in list(self._turns.values()):
            for _ in range(len(line)):
                consumer = line[0]
                if not consumer.has_room(entry):
                    self._park(line.popleft())
                    continue
                line.rotate(-1)
                if consumer.accepts(entry):
                    return consumer
        return None

    def _room(self, active: Consumer, entry: Entry) -> bool:
        if active.has_room(entry):
            return True
        if active not in self._parked:
            self._leave(active)
            self._park(active)
        return False

    def _park(self, consumer: Consumer) -> None:
        self._parked.add(consumer)
        consumer.channel.parked[consumer] = None

    def _leave(self, consumer: Consumer) -> None:
        self._turns[consumer.priority].remove(consumer)
        if not self._turns[consumer.priority]:
            del self._turns[consumer.priority]

    def _join(self, consumer: Consumer) -> None:
        if consumer.priority not in self._turns:
            self._turns[consumer.priority] = deque()
            self._turns = dict(sorted(self._turns.items(), reverse=True))
        self._turns[consumer.priority].append(consumer)
