"""Fixtures of the AMQP suites: connections of two kinds, and the names of what a test makes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mqproof.harness.clients.amqp import AmqpClient
from mqproof.harness.plugin.fixtures import Cleanup, Names
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Untested
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_janitor import remove
from mqproof.harness.wires.amqp_verbs import Things
from mqproof.harness.wires.base import Transcript
from mqproof.suites.amqp.ahead import Conversations, is_ahead

OTHER_VHOST = "other"
STRANGER = "mqproof-stranger"  # a user, and the password, who may open the virtual host and nothing else


class Wires:
    """Makes raw connections: ``wires()`` with channel 1 open, ``wires.raw()`` with nothing sent yet."""

    def __init__(self, target: Target, things: Things, cleanup: Cleanup, transcripts: list[Transcript]) -> None:
        self._target = target
        self._things = things
        self._cleanup = cleanup
        self._transcripts = transcripts

    def __call__(self, **options: Any) -> AmqpWire:
        """Return a connection with channel 1 open; ``options`` are limits for tune-ok."""
        return self.raw().open(**options)

    def other_vhost(self) -> AmqpWire:
        """Return a connection to another virtual host. Raises Untested where these credentials open no other."""
        wire = self.raw(vhost=OTHER_VHOST)
        try:
            return wire.open()
        except Blocked:
            raise Untested(f"needs a second virtual host, {OTHER_VHOST!r}, that the user may open") from None

    def stranger(self) -> AmqpWire:
        """Return the connection of a user without rights. Raises Untested where there is no such user."""
        wire = self.raw(user=STRANGER, password=STRANGER)
        try:
            return wire.open()
        except Blocked:
            raise Untested(f"needs a user {STRANGER!r} who may open the virtual host and nothing else") from None

    def raw(self, **changes: Any) -> AmqpWire:
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


@pytest.fixture(scope="session")
def conversations() -> Iterator[Conversations]:
    """The conversations that run ahead, on threads."""

    def make_wires(
        target: Target, names: Callable[[str], str], cleanup: Cleanup, transcripts: list[Transcript]
    ) -> Wires:
        things = Things(names)
        cleanup(remove, target, things)
        return Wires(target, things, cleanup, transcripts)

    begun = Conversations(make_wires)
    yield begun
    begun.pool.shutdown(cancel_futures=True)


@pytest.fixture(autouse=True)
def _begin_ahead(request: pytest.FixtureRequest, target: Target, conversations: Conversations) -> None:
    conversations.begin_all(request.session, target)


@pytest.fixture
def ahead_result(
    request: pytest.FixtureRequest, conversations: Conversations, transcripts: list[Transcript], _begin_ahead: None
) -> Callable[[], None]:
    """Waits for the conversation of a test that runs ahead."""
    return conversations.result(request.node, transcripts)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge what runs ahead last, so that its time passes while the others run."""
    items.sort(key=is_ahead)
