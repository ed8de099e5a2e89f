"""The lower half of an MQTT wire: octets out, packets in, every one of them on the transcript."""

import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mqproof.dissectors.mqtt.codec import Connack, Connect, Decoder, Malformed, Packet, Publish, prop
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.patience import patience
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Unsupported
from mqproof.harness.wires.base import REPLY_DEADLINE, Connection, End, Ended, Transcript
from mqproof.harness.wires.mqtt_packets import describe, made, masked, octets_of
from mqproof.harness.wires.websocket import connection

STEP = REPLY_DEADLINE  # seconds, before patience
RETAINED_PUBLISH = 0x31  # packet type 3 with the flag RETAIN (section 3.3.1)


class Belongings:
    """What a test leaves at the broker, so that it can be removed: stored sessions and retained messages."""

    def __init__(self, names: Any) -> None:
        self.names = names
        self.sessions: dict[str, None] = {}
        self.retained: dict[str, None] = {}

    def is_stray(self, packet: Packet) -> bool:
        """Whether this is a message on a topic of another test, to which nobody here has subscribed."""
        prefix = f"{getattr(self.names, 'prefix', '')}-"
        if not isinstance(packet, Publish) or prefix == "-" or not packet.topic.startswith(prefix):
            return False
        return not any(name in packet.topic for name in self.names.made)

    def note(self, packet: Packet) -> None:
        """Remember what this packet of a client will leave behind."""
        if isinstance(packet, Publish) and packet.retain and packet.payload and packet.topic:
            self.retained[packet.topic] = None
        if isinstance(packet, Connect):
            if packet.client_id and is_kept(packet):
                self.sessions[packet.client_id] = None
            if packet.will is not None and packet.will.retain:
                self.retained[packet.will.topic] = None


    def note_octets(self, octets: bytes) -> None:
        """Remember what a PUBLISH made by hand may leave behind: a broker may take what it should refuse."""
        if octets[:1] and octets[0] & 0xF1 == RETAINED_PUBLISH:
            length = next((at for at in range(1, min(5, len(octets))) if octets[at] < 0x80), len(octets))
            body = octets[length + 1 :]
            topic = body[2 : 2 + int.from_bytes(body[:2])]
            if re.fullmatch(rb"[\w/-]+", topic):  # our own names: nothing else could be cleared, nor may be touched
                self.retained[topic.decode()] = None


def is_kept(packet: Connect) -> bool:
    """Whether the session that this CONNECT asks for outlives its connection."""
    if packet.version is not Version.V5_0:
        return not packet.clean_start
    return bool(prop(packet.properties, "session_expiry_interval"))


def accept(connack: Connack, *, keep: bool) -> None:
    """Raise Blocked where a CONNACK refuses us, and Unsupported where it keeps no session (5.0 section 3.2.2.3.2)."""
    if connack.reason_code:
        raise Blocked(f"the broker refuses us: {describe(connack)}")
    if keep and prop(connack.properties, "session_expiry_interval") == 0:
        raise Unsupported("the server keeps no sessions: its CONNACK has Session Expiry Interval 0")


class MqttLink:
    """A connection and what has come over it. ``inbox`` holds the packets that nobody has asked for yet."""

    def __init__(self, target: Target, version: Version, belongings: Belongings, *, title: str = "MQTT wire") -> None:
        """Connect the socket. Raises Blocked."""
        self.target = target
        self.version = version
        self.belongings = belongings
        self.transcript = Transcript(f"{title} ({version.spec})")
        self.inbox: deque[Packet] = deque()
        self.heard: list[Packet] = []  # every packet that came, in order
        self.ended: Ended | None = None
        self._decoder = Decoder(version)
        self._kept = False
        self._is_recording = True
        try:
            self._connection = self._open(target)
        except OSError as error:
            raise Blocked(f"no connection to {target.redacted_url}: {error}") from error

    def _open(self, target: Target) -> Connection:
        return connection(target)

    @property
    def is_v5(self) -> bool:
        """Whether the wire speaks 5.0."""
        return self.version is Version.V5_0

    def send(self, first: Packet | bytes | type[Any] = b"", *more: Packet | bytes, **values: Any) -> None:
        """Send packets or octets in one segment: ``send(PUBREL, packet_id=7)``, ``send(packet, octets)``.

        That the broker has gone is noticed by whatever waits for an answer.
        """
        items = [made(first, **values) if isinstance(first, type) else first, *more]
        for item in items:
            if self._is_recording:
                shown = item if isinstance(item, bytes) else masked(item)
                self.transcript.add(">", octets_of(shown, self.version), describe(item))
            if isinstance(item, bytes):
                self.belongings.note_octets(item)
            else:
                self.belongings.note(item)
                self._kept = is_kept(item) if isinstance(item, Connect) else self._kept
        self._connection.send(b"".join(octets_of(item, self.version) for item in items))

    def poll(self, until: float) -> Packet | Ended:
        """Return the next packet in the order of arrival, or how the wait ended; ``until``: ``time.monotonic``."""
        return self.inbox.popleft() if self.inbox else self.arrive(until)

    def arrive(self, until: float) -> Packet | Ended:
        """Return the next packet from the socket, past the inbox."""
        while True:
            try:
                packet = self._decoder.next()
            except Malformed as error:
                return self._end(Ended(End.MALFORMED, f"{error.rule}: {error.detail}"))
            if packet is not None:
                self._note(packet)
                if not self.belongings.is_stray(packet):
                    return packet
                self.note("left out: nobody here has subscribed to that topic (3.3.2-3 has a test of its own)")
                continue
            if self.ended is not None:
                return self.ended
            octets = self._connection.receive(until)
            if isinstance(octets, Ended):
                return octets if octets.end is End.TIMEOUT else self._end(octets)
            self._decoder.feed(octets)

    def rest(self) -> tuple[bytes, Ended]:
        """Return every octet until the connection ends, undecoded, and how it ended; for answers of any format."""
        until, octets = deadline(), self._decoder.rest()
        while not isinstance(more := self._connection.receive(until), Ended):
            octets += more
        self.transcript.add("<", octets, describe(octets))
        return octets, more if more.end is End.TIMEOUT else self._end(more)

    def sizes(self) -> list[int]:
        """Return the sizes in octets of all packets that have come."""
        return [len(line.octets) for line in self.transcript.lines if line.direction == "<"]

    def _note(self, packet: Packet) -> None:
        if not self._is_recording:
            return
        self.heard.append(packet)
        self.transcript.add("<", self._decoder.last_frame_octets, describe(packet))
        name = prop(packet.properties, "assigned_client_identifier") if isinstance(packet, Connack) else None
        if name and self._kept:
            self.belongings.sessions[name] = None

    def _end(self, ended: Ended) -> Ended:
        if self.ended is None:
            self.transcript.add("!", b"", str(ended))
        self.ended = ended
        return ended

    def note(self, text: str) -> None:
        """Write a remark into the transcript."""
        self.transcript.add("!", b"", text)

    @contextmanager
    def unrecorded(self, why: str) -> Iterator[None]:
        """Leave packets out of transcript and ``heard`` meanwhile: for more of them than anybody would read."""
        self.note(why)
        self._is_recording = False
        try:
            yield
        finally:
            self._is_recording = True

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on receiving."""
        self._connection.half_close()

    def cut(self) -> None:
        """End the connection by a reset, as a crashed client's kernel would; a will is published."""
        self.note("we reset the connection")
        self._connection.cut()

    def close(self) -> None:
        """Close the socket without DISCONNECT."""
        self._connection.close()


def deadline(seconds: float = STEP) -> float:
    """Return the moment at which a wait of ``seconds``, before patience, ends."""
    return time.monotonic() + patience.seconds(seconds)
