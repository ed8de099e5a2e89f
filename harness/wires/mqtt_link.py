"""A raw MQTT connection, lower half: exact octets out, decoded packets in.

It validates nothing and hides nothing. ``must_receive`` accuses the broker (Deviation); everything else raises Blocked,
because it is a precondition of what a test examines. Every step has a deadline.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

from mqproof.dissectors.mqtt.codec import Connect, Decoder, Malformed, Packet, Publish, RawPacket, encode, packet_name
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.patience import patience
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Deviation
from mqproof.harness.wires.base import REPLY_DEADLINE, Connection, End, Ended, Transcript
from mqproof.harness.wires.mqtt_things import Things

PacketT = TypeVar("PacketT")  # one of the classes in dissectors.mqtt.packets
SHOWN = 60  # characters of a payload that a transcript shows


class Refused(Exception):
    """Something else came than was awaited; the message says what."""


class Link:
    """One connection: what goes out and what comes in, packet by packet."""

    def __init__(self, target: Target, things: Things, version: Version, *, title: str = "MQTT wire") -> None:
        """Connect the socket and send nothing. Raises Blocked when nobody listens."""
        self.target = target
        self.things = things
        self.version = version
        self.transcript = Transcript(f"{title} ({version.spec})")
        try:
            self.connection = Connection(target)
        except OSError as error:
            raise Blocked(f"no connection to {target.redacted_url}: {error}") from None
        self.last_octets = b""  # of the packet that was received last
        self._decoder = Decoder(version)
        self._inbox: deque[Packet] = deque()  # what came while something else was awaited

    # -- out -----------------------------------------------------------------------------------------------------

    def send(self, *packets: Packet, flags: int | None = None) -> None:
        """Send packets in one write; ``flags`` replaces their fixed headers' flags. That the broker has gone shows
        when it is listened to.
        """
        for packet in packets:
            self.transcript.add(">", encode(hidden(packet), self.version, flags=flags), describe(packet))
            if isinstance(packet, Connect):
                self.things.note_connect(packet)
                self.version = self._decoder.version = packet.version
            elif isinstance(packet, Publish):
                self.things.note_publish(packet)
        self.connection.send(b"".join(encode(packet, self.version, flags=flags) for packet in packets))

    def send_octets(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.transcript.add(">", octets, f"{len(octets)} octets {octets[:40].hex(' ')}")
        self.connection.send(octets)

    # -- in ------------------------------------------------------------------------------------------------------

    def next_packet(self, until: float | None = None) -> Packet | Ended:
        """Return the next packet, or how the wait ended; ``until``: a moment of ``time.monotonic``."""
        until = within(REPLY_DEADLINE) if until is None else until
        while True:
            try:
                packet = self._decoder.next()
            except Malformed as error:
                return self._note_end(Ended(End.MALFORMED, str(error)))
            if packet is not None:
                self.last_octets = self._decoder.last_frame_octets
                self.transcript.add("<", self.last_octets, describe(packet))
                return packet
            octets = self.connection.receive(until)
            if isinstance(octets, Ended):
                return self._note_end(octets)
            self._decoder.feed(octets)

    def _note_end(self, ended: Ended) -> Ended:
        self.transcript.add("!", b"", str(ended))
        return ended

    def expect(self, kind: type[PacketT], seconds: float = REPLY_DEADLINE, **wanted: Any) -> PacketT:
        """Return the first packet of this kind with these fields; others wait for their turn. Raises Blocked."""
        try:
            return self.find(kind, seconds, wanted)
        except Refused as refused:
            raise Blocked(f"expected {told(kind, wanted)}; got {refused}") from None

    def must_receive(self, kind: type[PacketT], seconds: float = REPLY_DEADLINE, **wanted: Any) -> PacketT:
        """Accuse the broker unless a packet of this kind with these fields comes."""
        try:
            return self.find(kind, seconds, wanted)
        except Refused as refused:
            raise Deviation(told(kind, wanted), str(refused)) from None

    def find(self, kind: type[PacketT], seconds: float, wanted: dict[str, Any]) -> PacketT:
        """Return the first packet of this kind with these fields. Raises Refused when the connection ends instead."""

        def is_wanted(packet: Packet) -> bool:
            return isinstance(packet, kind) and all(getattr(packet, name) == value for name, value in wanted.items())

        found = self.await_packet(is_wanted, seconds)
        assert isinstance(found, kind)
        return found

    def await_packet(self, is_wanted: Callable[[Packet], bool], seconds: float = REPLY_DEADLINE) -> Packet:
        """Return the first packet that is wanted. Raises Refused."""
        for waiting in self._inbox:
            if is_wanted(waiting):
                self._inbox.remove(waiting)
                return waiting
        until = within(seconds)
        while not isinstance(packet := self.next_packet(until), Ended):
            if is_wanted(packet):
                return packet
            self._inbox.append(packet)
        raise Refused(self._with_inbox(str(packet)))

    def arrived(self, kind: type[PacketT]) -> list[PacketT]:
        """Take out of the inbox what has arrived of this kind."""
        found = [packet for packet in self._inbox if isinstance(packet, kind)]
        self._inbox = deque(packet for packet in self._inbox if not isinstance(packet, kind))
        return found

    def _with_inbox(self, text: str) -> str:
        last = ", ".join(describe(packet) for packet in list(self._inbox)[-3:])
        return f"{text} after {last}" if last else text

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on receiving."""
        self.connection.half_close()

    def cut(self) -> None:
        """End the connection by a reset, as a crashed client's kernel would."""
        self.transcript.add("!", b"", "we reset the connection")
        self.connection.cut()

    def close(self) -> None:
        """Close the socket without a DISCONNECT; harmless when that has happened before."""
        self.connection.close()


def within(seconds: float) -> float:
    """Return the moment of ``time.monotonic`` that lies so many seconds ahead, patience counted in."""
    return time.monotonic() + patience.seconds(seconds)


def hidden(packet: Packet) -> Packet:
    """Return the packet as it may be shown: a password is masked at the same length."""
    if isinstance(packet, Connect) and packet.password is not None:
        return replace(packet, password=b"*" * len(packet.password))
    return packet


def describe(packet: Packet) -> str:
    """Return a packet in words for people: its name and the fields that are not at their defaults."""
    if isinstance(packet, RawPacket):
        return f"{packet.first_byte:#04x} {packet.body[:40].hex(' ')}"
    shown = (_field(entry.name, getattr(hidden(packet), entry.name), entry.default) for entry in fields(packet))
    return " ".join([packet_name(packet), *filter(None, shown)])


def _field(name: str, value: Any, default: Any) -> str:
    if value == default:
        return ""
    text = repr(value)
    return f"{name}={text if len(text) <= SHOWN else text[:SHOWN] + '…'}"


def told(kind: type, wanted: dict[str, Any]) -> str:
    """Return what was awaited in words."""
    return " ".join([kind.__name__.upper(), *(f"{name}={value!r}" for name, value in wanted.items())])
