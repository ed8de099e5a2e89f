"""Fixtures of the AMQP suites: connections of two kinds, and the names of what a test makes."""

from collections.abc import Callable

import pytest
from mqproof.harness.clients.amqp import AmqpClient
from mqproof.harness.plugin.fixtures import Cleanup, Names
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_janitor import remove
from mqproof.harness.wires.amqp_verbs import Things
from mqproof.harness.wires.base import Transcript


class Wires:
    """Makes raw connections: ``wires()`` with channel 1 open, ``wires.raw()`` with nothing sent yet."""

    def __init__(self, target: Target, things: Things, cleanup: Cleanup, transcripts: list[Transcript]) -> None:
        self._target = target
        self._things = things
        self._cleanup = cleanup
        self._transcripts = transcripts

    def __call__(self, **options: int) -> AmqpWire:
        """Return a connection with channel 1 open; ``options`` are limits for tune-ok."""
        return self.raw().open(**options)

    def raw(self, **changes: object) -> AmqpWire:
        """Return a connected socket on which nothing has been said; ``changes``: fields of the target."""
        wire = AmqpWire(
            self._target.with_(**changes), self._things, title=f"AMQP wire {len(self._transcripts) + 1}"
        )
        self._transcripts.append(wire.transcript)
        self._cleanup(wire.close)
        return wire


@pytest.fixture
def things(target: Target, names: Names, cleanup: Cleanup) -> Things:
    """The names of what this test makes; everything is removed at its end."""
    made = Things(names)
    cleanup(remove, target, made)
    return made


@pytest.fixture
def clients(
    target: Target, things: Things, cleanup: Cleanup, transcripts: list[Transcript]
) -> Callable[[], AmqpClient]:
    """``clients()`` is a new connection of an application (pika)."""

    def connect() -> AmqpClient:
        client = AmqpClient(target, things, title=f"AMQP client {len(transcripts) + 1}")
        transcripts.append(client.transcript)
        cleanup(client.close)
        return client

    return connect


@pytest.fixture
def amqp(clients: Callable[[], AmqpClient]) -> AmqpClient:
    """The connection of an application (pika)."""
    return clients()


@pytest.fixture
def wires(target: Target, things: Things, cleanup: Cleanup, transcripts: list[Transcript]) -> Wires:
    """``wires()`` is a new raw connection."""
    return Wires(target, things, cleanup, transcripts)


@pytest.fixture
def wire(wires: Wires) -> AmqpWire:
    """A raw connection with channel 1 open."""
    return wires()
