"""A broker without sockets, a clock that the test moves, and clients that talk to it packet by packet."""

from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from mqproof.dissectors.mqtt.codec import (
    Connack,
    Connect,
    Decoder,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    encode,
    prop,
)
from mqproof.dissectors.mqtt.packets import TYPES
from mqproof.dissectors.mqtt.tables import CONNECT_RETURN_CODES, REASON_CODES, SUBACK_RETURN_CODES, PacketType, Version
from mqproof.harness.reference.mqtt.broker import Broker
from mqproof.harness.reference.mqtt.connection import Connection
from mqproof.harness.reference.mqtt.limits import Limits

V4, V5 = Version.V3_1_1, Version.V5_0


def check_lawful(packet: Packet, version: Version) -> None:
    """Whatever the broker says: only what a server may say, with codes that are defined for it."""
    kind = TYPES[type(packet)]
    code, codes = getattr(packet, "reason_code", 0), getattr(packet, "reason_codes", ())
    if version is V5:
        assert kind not in REASON_CODES or {code, *codes} <= REASON_CODES[kind], packet
        assert kind is not PacketType.DISCONNECT or code not in (0, 4), "MQTT 5.0 table 3-10: the client's"
        assert kind is not PacketType.DISCONNECT or prop(packet.properties, "session_expiry_interval") is None
    else:
        assert kind is not PacketType.CONNACK or code in CONNECT_RETURN_CODES, packet
        assert kind is not PacketType.SUBACK or set(codes) <= SUBACK_RETURN_CODES, packet
        assert kind not in (PacketType.DISCONNECT, PacketType.AUTH), packet
    assert not (kind is PacketType.CONNACK and code and packet.session_present), packet
    assert not (isinstance(packet, Publish) and (not packet.topic or set(packet.topic) & set("+#"))) or version is V5


class Talker:
    """A client: what it sends reaches the broker at once, what the broker answers waits in ``read``."""

    def __init__(self, broker: Broker, version: Version) -> None:
        self.version = version
        self.closed = False
        self._decoder = Decoder(version)
        self.connection = Connection(broker, self)

    def write(self, data: bytes) -> None:
        assert not self.closed, "the broker wrote after closing"
        self._decoder.feed(data)

    def close(self) -> None:
        self.closed = True

    def send(self, *packets: Packet, flags: int | None = None) -> "Talker":
        self.raw(b"".join(encode(packet, self.version, flags=flags) for packet in packets))
        return self

    def raw(self, data: bytes) -> "Talker":
        self.connection.receive(data)
        return self

    def read(self) -> list[Packet]:
        found = []
        while (packet := self._decoder.next()) is not None:
            check_lawful(packet, self.version)
            found.append(packet)
        return found

    def one(self) -> Packet:
        (packet,) = self.read()
        return packet

    def nothing(self) -> bool:
        return not self.read()

    def subscribe(self, *filters: str | Subscription, qos: int = 2, properties: Any = (), packet_id: int = 9) -> list:
        """Subscribe, check that all is granted, and return what came behind the SUBACK."""
        entries = tuple(entry if isinstance(entry, Subscription) else Subscription(entry, qos) for entry in filters)
        suback, *rest = self.send(Subscribe(packet_id, entries, properties)).read()
        assert isinstance(suback, Suback)
        assert suback.reason_codes == tuple(entry.qos for entry in entries)
        return rest

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 0, packet_id: int = 1, **more: Any) -> None:
        """Publish and go through the whole exchange; what else comes is lost."""
        self.send(Publish(topic, payload, qos, packet_id=packet_id if qos else None, **more))
        answers = self.read()
        if qos == 1:
            assert Puback in map(type, answers)
        if qos == 2:
            assert Pubrec in map(type, answers)
            assert Pubcomp in map(type, self.send(Pubrel(packet_id)).read())

    def payloads(self) -> list[bytes]:
        """Read messages and acknowledge them until nothing comes any more."""
        found = []
        while packets := self.read():
            for packet in packets:
                if isinstance(packet, Publish):
                    found.append(packet.payload)
                if isinstance(packet, Publish) and packet.packet_id:
                    self.send(Puback(packet.packet_id) if packet.qos == 1 else Pubrec(packet.packet_id))
                elif isinstance(packet, Pubrel):
                    self.send(Pubcomp(packet.packet_id))
        return found

    def cut(self) -> None:
        """The network connection breaks."""
        self.closed = True
        self.connection.lost()


class World:
    """The broker, its clock, and a way to make clients."""

    def __init__(self, defects: frozenset[str], limits: Limits, users: dict[str, bytes] | None = None) -> None:
        self.time = 1000.0
        self.broker = Broker(lambda: self.time, limits, defects, users)
        self._serial = count(1)

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every deadline on the way."""
        end = self.time + seconds
        while (due := self.broker.timers.next_due()) is not None and due <= end:
            self.time = max(self.time, due)
            self.broker.tick()
        self.time = end

    def talker(self, version: Version = V5) -> Talker:
        return Talker(self.broker, version)

    def client(self, client_id: str | None = None, version: Version = V5, *, keep: bool = False, **more: Any) -> Talker:
        """A connected client; ``keep``: with a session that outlives the connection (and may be resumed)."""
        talker = self.talker(version)
        name = f"c{next(self._serial)}" if client_id is None else client_id
        if keep:
            more.setdefault("clean_start", False)
            if version is V5:
                more["properties"] = (*more.get("properties", ()), ("session_expiry_interval", 1000))
        talker.send(replace(Connect(name, version=version), **more))
        connack, *rest = talker.read()
        assert isinstance(connack, Connack)
        assert connack.reason_code == 0
        talker.connack = connack
        talker.after_connack = rest
        return talker


@pytest.fixture
def world(request):
    marker = request.node.get_closest_marker("defects")
    return World(frozenset(marker.args if marker else ()), Limits())


@pytest.fixture
def make_world():
    def make(*defects: str, users=None, **limits: Any) -> World:
        return World(frozenset(defects), replace(Limits(), **limits), users)

    return make


@pytest.fixture(params=[V4, V5], ids=["3.1.1", "5.0"])
def version(request):
    return request.param


@pytest.fixture
def serve():
    """Start brokers on sockets, in this process; they end with the test."""
    from mqproof.harness.reference.mqtt.server import start_in_thread

    with ExitStack() as stack:
        yield lambda *defects, **more: stack.enter_context(start_in_thread(frozenset(defects), **more))


@pytest.fixture(scope="session")
def make_world_once():
    """The same as make_world, for tests that run many examples."""
    return lambda **limits: World(frozenset(), replace(Limits(), **limits))
