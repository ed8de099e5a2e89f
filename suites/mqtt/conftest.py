"""Fixtures of the MQTT suites: connections of two kinds, and the names of what a test makes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.clients.mqtt import MqttClient
from mqproof.harness.plugin.fixtures import Cleanup, Names
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import Transcript
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_janitor import remove
from mqproof.harness.wires.mqtt_link import Belongings
from mqproof.suites.mqtt.ahead import MqttConversations, is_ahead

LONGEST = ("test_2_3_packet_ids", "test_model_")  # files


class Wires:
    """Makes raw connections: ``wires()`` is connected as a client, ``wires.raw()`` has said nothing yet."""

    def __init__(
        self, target: Target, version: Version, names: Any, cleanup: Cleanup, transcripts: list[Transcript]
    ) -> None:
        self.target = target
        self.version = version
        self.names = names
        self.belongings = Belongings(names)
        self._cleanup = cleanup
        self._transcripts = transcripts
        cleanup(remove, target, version, self.belongings)

    @property
    def is_v5(self) -> bool:
        """Whether the test runs for 5.0."""
        return self.version is Version.V5_0

    def __call__(self, client_id: str | None = None, *, keep: bool = False, **values: Any) -> MqttWire:
        """Return a client's connection; ``keep``: with a session that is stored. Raises Blocked."""
        return self.raw().connect(client_id, keep=keep, **values)

    def raw(self, *, silent: bool = False) -> MqttWire:
        """Return a connected socket on which nothing has been said; ``silent``: its transcript is not shown."""
        title = f"MQTT wire {len(self._transcripts) + 1}"
        wire = MqttWire(self.target, self.version, self.belongings, title=title)
        if not silent:
            self._transcripts.append(wire.transcript)
        self._cleanup(wire.leave)
        return wire


@pytest.fixture
def wires(
    target: Target, version: Version, names: Names, cleanup: Cleanup, transcripts: list[Transcript]
) -> Wires:
    """``wires()`` is a new raw connection."""
    return Wires(target, version, names, cleanup, transcripts)


@pytest.fixture
def wire(wires: Wires) -> MqttWire:
    """A raw connection, accepted by the broker."""
    return wires()


@pytest.fixture
def topic(names: Names) -> str:
    """A topic that nobody else uses."""
    return names("topic")


@pytest.fixture
def client_id(names: Names) -> str:
    """A client identifier that nobody else uses."""
    return names.client_id()


@pytest.fixture
def clients(
    target: Target, version: Version, names: Names, cleanup: Cleanup, transcripts: list[Transcript]
) -> Callable[..., MqttClient]:
    """``clients()`` is a new connection of an application (paho)."""

    def connect(**options: Any) -> MqttClient:
        client = MqttClient(target, version, names.client_id(), title=f"MQTT client {len(transcripts) + 1}", **options)
        transcripts.append(client.transcript)
        cleanup(client.close)
        return client

    return connect


@pytest.fixture(scope="session")
def conversations() -> Iterator[MqttConversations]:
    """The conversations that run ahead, on threads."""
    begun = MqttConversations(Wires)
    yield begun
    begun.end()


@pytest.fixture(autouse=True)
def _begin_ahead(request: pytest.FixtureRequest, target: Target, conversations: MqttConversations) -> None:
    conversations.begin_all(request.session, target)


@pytest.fixture
def ahead_result(
    request: pytest.FixtureRequest, conversations: MqttConversations, transcripts: list[Transcript], _begin_ahead: None
) -> Callable[[], None]:
    """Waits for the conversation of a test that runs ahead."""
    return conversations.result(request.node, transcripts)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Judge what runs ahead last, so that its time passes while the others run; what takes longest comes first."""
    items.sort(key=lambda item: (is_ahead(item), not item.path.name.startswith(LONGEST)))
