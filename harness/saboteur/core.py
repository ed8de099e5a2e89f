"""Faults: each breaks one promise of a broker, between client and broker or deep inside the embedded broker.

A fault is a small class with two methods that see decoded frames (AMQP) or packets (MQTT) in either direction and say
what goes on instead: ``None`` for the frame untouched, or any iterable of frames and octets (an empty one drops it).
A direction that a fault does not look at passes octet by octet, as if the saboteur were not there.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.proxy.core import Link, Passage
from mqproof.harness.statements import registry

FrameT = TypeVar("FrameT")
AmqpResult = Iterable[amqp.Frame | bytes] | None
MqttResult = Iterable[mqtt.Packet | bytes] | None


class Conn(Generic[FrameT]):
    """One connection, as a fault sees it. ``memory`` is the fault's to keep state in, per connection."""

    def __init__(self, link: Link, encode: Callable[["Conn[FrameT]", FrameT], bytes]) -> None:
        self._link = link
        self._encode = encode
        self.memory: dict[Any, Any] = {}
        self.version = Version.V3_1_1  # MQTT only; set by CONNECT
        self.raw = b""  # the octets of the frame that the fault is looking at
        self.pending: dict[tuple[str, int], list[tuple[FrameT, bytes]]] = {}  # unfinished messages by channel

    def octets(self, frames: Iterable[FrameT | bytes]) -> bytes:
        """Return frames and octets as octets."""
        return b"".join(item if isinstance(item, bytes) else self._encode(self, item) for item in frames)

    def to_client(self, *frames: FrameT | bytes) -> None:
        """Send frames to the client."""
        self._link.to_client(self.octets(frames))

    def to_broker(self, *frames: FrameT | bytes) -> None:
        """Send frames to the broker."""
        self._link.to_broker(self.octets(frames))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` after a time, unless the connection has ended by then."""
        self._link.after(seconds, action)

    def close(self) -> None:
        """Close both sides in an orderly way."""
        self._link.close()

    def reset(self) -> None:
        """Reset both sides."""
        self._link.reset()


AmqpConn = Conn[amqp.Frame]
MqttConn = Conn[mqtt.Packet]


class Fault:
    """What all faults share. One instance serves all connections of one proxy; ``memory`` spans them."""

    spec: ClassVar["FaultSpec"]

    def __init__(self) -> None:
        self.memory: dict[Any, Any] = {}


class AmqpFault(Fault):
    """A fault that acts on AMQP frames."""

    def from_client(self, frame: amqp.Frame, conn: AmqpConn) -> AmqpResult:
        """Say what the broker gets instead of ``frame``; None for the frame itself."""
        return None

    def from_broker(self, frame: amqp.Frame, conn: AmqpConn) -> AmqpResult:
        """Say what the client gets instead of ``frame``; None for the frame itself."""
        return None

    def malformed_from_client(self, error: Malformed, rest: bytes, conn: AmqpConn) -> bytes:
        """Say what the broker gets of octets that are no frame; from then on that direction is untouched."""
        return rest


class AmqpContentFault(AmqpFault):
    """A fault that acts on whole messages: a method with its content header and its joined body.

    Return None to pass the message as it came, or frames: ``amqp.content(...)`` makes a whole message's.
    """

    def message_from_client(self, method: amqp.Method, header: amqp.ContentHeader, body: bytes, conn: AmqpConn) -> (
        AmqpResult
    ):
        """Say what the broker gets instead of this message."""
        return None

    def message_from_broker(self, method: amqp.Method, header: amqp.ContentHeader, body: bytes, conn: AmqpConn) -> (
        AmqpResult
    ):
        """Say what the client gets instead of this message."""
        return None

    def from_client(self, frame: amqp.Frame, conn: AmqpConn) -> AmqpResult:
        """Collect messages; other frames pass."""
        return _collect(frame, conn, "client", self.message_from_client)

    def from_broker(self, frame: amqp.Frame, conn: AmqpConn) -> AmqpResult:
        """Collect messages; other frames pass."""
        return _collect(frame, conn, "broker", self.message_from_broker)


class MqttFault(Fault):
    """A fault that acts on MQTT packets."""

    def from_client(self, packet: mqtt.Packet, conn: MqttConn) -> MqttResult:
        """Say what the broker gets instead of ``packet``; None for the packet itself."""
        return None

    def from_broker(self, packet: mqtt.Packet, conn: MqttConn) -> MqttResult:
        """Say what the client gets instead of ``packet``; None for the packet itself."""
        return None

    def malformed_from_client(self, error: Malformed, rest: bytes, conn: MqttConn) -> bytes:
        """Say what the broker gets of octets that are no packet; from then on that direction is untouched."""
        return rest


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A registered fault: name, the statements that it breaks ("spec:id"), and what it does in words.

    ``defect``: the embedded broker's defect that stands in for it; then there is no proxy, and no other broker.
    """

    name: str
    statements: tuple[str, ...]
    says: str
    protocol: str
    defect: str | None = None
    make: Callable[[], Fault] = field(default=Fault, repr=False)


FAULTS: dict[str, FaultSpec] = {}
FaultT = TypeVar("FaultT", bound=type[Fault])


def fault(name: str, *statements: str, says: str) -> Callable[[FaultT], FaultT]:
    """Register a fault class under ``name``. Raises UnknownStatement for ids that no statement has."""

    def register(cls: FaultT) -> FaultT:
        protocol = "amqp" if issubclass(cls, AmqpFault) else "mqtt"
        cls.spec = _register(FaultSpec(name, statements, says, protocol, make=cls))
        return cls

    return register


def defect(name: str, *statements: str, says: str, protocol: str) -> FaultSpec:
    """Register a fault that only the embedded broker of ``protocol`` can show, by its defect of the same name."""
    return _register(FaultSpec(name, statements, says, protocol, defect=name))


def _register(spec: FaultSpec) -> FaultSpec:
    for statement in spec.statements:
        registry.find(statement)
    if spec.name in FAULTS:
        raise ValueError(f"two faults are called {spec.name!r}")
    FAULTS[spec.name] = spec
    return spec


def passage_for(fault: Fault) -> Callable[[Link], Passage]:
    """Return what makes passages through which ``fault`` acts on connections."""
    if isinstance(fault, AmqpFault):
        return lambda link: AmqpPassage(link, fault)
    if isinstance(fault, MqttFault):
        return lambda link: MqttPassage(link, fault)
    raise TypeError(f"{type(fault).__name__} acts on no protocol")


class AmqpPassage(Passage):
    """Lets one fault act on the frames of one AMQP connection."""

    def __init__(self, link: Link, fault: AmqpFault) -> None:
        super().__init__(link)
        conn: AmqpConn = Conn(link, lambda conn, frame: amqp.encode(frame))
        self._client = _Direction(amqp.Decoder(), fault, "client", conn, link.to_broker)
        self._broker = _Direction(amqp.Decoder(), fault, "broker", conn, link.to_client)

    def from_client(self, octets: bytes) -> None:
        """Decode, let the fault act, pass on."""
        self._client.take(octets)

    def from_broker(self, octets: bytes) -> None:
        """Decode, let the fault act, pass on."""
        self._broker.take(octets)

    def client_ended(self) -> None:
        """Pass on what never became a whole frame."""
        self._client.flush()

    def broker_ended(self) -> None:
        """Pass on what never became a whole frame."""
        self._broker.flush()


class MqttPassage(Passage):
    """Lets one fault act on the packets of one MQTT connection."""

    def __init__(self, link: Link, fault: MqttFault) -> None:
        super().__init__(link)
        self._conn: MqttConn = Conn(link, lambda conn, packet: mqtt.encode(packet, conn.version))
        self._decoders = mqtt.Decoder(), mqtt.Decoder(Version.V3_1_1)
        self._client = _Direction(self._decoders[0], fault, "client", self._conn, link.to_broker)
        self._broker = _Direction(self._decoders[1], fault, "broker", self._conn, link.to_client)

    def from_client(self, octets: bytes) -> None:
        """Decode, let the fault act, pass on; a CONNECT tells how the broker's packets are to be read."""
        self._client.take(octets, before=self._learn_version)

    def from_broker(self, octets: bytes) -> None:
        """Decode, let the fault act, pass on."""
        self._broker.take(octets)

    def client_ended(self) -> None:
        """Pass on what never became a whole packet."""
        self._client.flush()

    def broker_ended(self) -> None:
        """Pass on what never became a whole packet."""
        self._broker.flush()

    def _learn_version(self, packet: object) -> None:
        if isinstance(packet, mqtt.Connect):
            self._conn.version = self._decoders[1].version = packet.version


class _Direction:
    """One direction of a connection: holds octets back only where the fault looks at that direction."""

    def __init__(self, decoder: Any, fault: Any, source: str, conn: Any, send: Callable[[bytes], None]) -> None:
        self._decoder = decoder
        self._act = getattr(fault, f"from_{source}")
        self._malformed = getattr(fault, "malformed_from_client", None) if source == "client" else None
        self._conn = conn
        self._send = send
        self._watched = _overrides(fault, source)
        self._transparent = False

    def take(self, octets: bytes, before: Callable[[object], None] | None = None) -> None:
        if self._transparent or not self._watched:
            self._send(octets)
        if self._transparent:
            return
        self._decoder.feed(octets)
        try:
            while (frame := self._decoder.next()) is not None:
                if before is not None:
                    before(frame)
                self._pass(frame)
        except Malformed as error:
            self._break(error)

    def _pass(self, frame: Any) -> None:
        if not self._watched:
            return
        self._conn.raw = self._decoder.last_frame_octets
        result = self._act(frame, self._conn)
        self._send(self._conn.raw if result is None else self._conn.octets(result))

    def _break(self, error: Malformed) -> None:
        rest = self._decoder.rest()
        self._transparent = True
        if self._watched:
            self._send(rest if self._malformed is None else self._malformed(error, rest, self._conn))

    def flush(self) -> None:
        if self._watched and not self._transparent:
            self._send(self._decoder.rest())


def _overrides(fault: Fault, source: str) -> bool:
    """Whether the fault looks at this direction."""
    cls = type(fault)
    names = [f"from_{source}", f"message_from_{source}"] + (["malformed_from_client"] if source == "client" else [])
    bases = (AmqpFault, AmqpContentFault, MqttFault)
    return any(
        getattr(cls, name, None) not in {getattr(base, name, None) for base in bases} for name in names
    )


def _collect(frame: amqp.Frame, conn: AmqpConn, source: str, act: Callable[..., AmqpResult]) -> AmqpResult:
    """Hold the frames of a message back until it is whole, then let ``act`` decide on it."""
    key = source, getattr(frame, "channel", 0)
    if isinstance(frame, amqp.Method):
        if not METHODS[frame.name].content:
            return None
        conn.pending[key] = [(frame, conn.raw)]
        return []
    if key not in conn.pending:
        return None
    held = conn.pending[key]
    held.append((frame, conn.raw))
    method, header = held[0][0], held[1][0]
    if not isinstance(header, amqp.ContentHeader):
        return [octets for _, octets in conn.pending.pop(key)]
    body = b"".join(part.payload for part, _ in held[2:] if isinstance(part, amqp.Body))
    if len(body) < header.body_size:
        return []
    whole = b"".join(octets for _, octets in conn.pending.pop(key))
    result = act(method, header, body, conn)
    return [whole] if result is None else result
