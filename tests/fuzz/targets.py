"""What the fuzzer calls: each takes any octets and may raise nothing but what its callers are told of."""

import contextlib
import io
import struct
import tempfile
from collections.abc import Callable
from typing import Any, Final

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead import compiled
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.overhead.summary import Summary
from mqproof.dissectors.overhead.views import look
from mqproof.dissectors.packets.craft import BROKER, CLIENT, LINKS, Conversation
from mqproof.dissectors.packets.pcap import CaptureError, read_packets

from arrays import Cleared  # isort: skip


def decoded(make: Callable[[], Any], data: bytes, size: int) -> list[str]:
    """Return what a decoder makes of octets that come in pieces."""
    decoder = make()
    found = []
    for at in range(0, len(data), size):
        decoder.feed(data[at : at + size])
        try:
            while (frame := decoder.next()) is not None:
                found.append(repr(frame))
        except Malformed as error:
            return [*found, str(error)]
    return found


def codec_amqp(data: bytes) -> None:
    """Frames or Malformed, the same ones whole and octet by octet; what was decoded can be encoded."""
    assert decoded(amqp.Decoder, data, len(data) or 1) == decoded(amqp.Decoder, data, 1)
    decoder = amqp.Decoder()
    decoder.feed(data)
    with contextlib.suppress(Malformed):
        while (frame := decoder.next()) is not None:
            again = amqp.Decoder()
            again.feed(amqp.encode(frame))
            assert repr(again.next()) == repr(frame)


def codec_mqtt(data: bytes) -> None:
    """Packets or Malformed, the same ones whole and octet by octet, in each version."""
    for version in Version:
        whole = decoded(lambda version=version: mqtt.Decoder(version), data, len(data) or 1)  # type: ignore[misc]
        assert whole == decoded(lambda version=version: mqtt.Decoder(version), data, 1)  # type: ignore[misc]


class Stutter(io.BytesIO):
    """A file that gives a few octets at a time, as a pipe may; it cannot be rewound."""

    def seekable(self) -> bool:
        """No."""
        return False

    def readinto(self, target: Any) -> int:
        """Read up to so many octets as the octet at this place says."""
        size = self.getbuffer()[min(self.tell(), len(self.getbuffer()) - 1)] * 7 + 1 if len(self.getbuffer()) else 1
        return super().readinto(memoryview(target)[:size])


def summed(data: bytes, engine: Any, *, stutter: bool = False) -> Summary:
    """Return the summary of a capture file's octets; its books are checked."""
    file = Stutter(data) if stutter else io.BytesIO(data)
    if not stutter:
        file.seekable = lambda: False  # type: ignore[method-assign]
    summary = analyze("fuzzed", engine=engine, file=file)
    assert sum(summary.account) == summary.counters["captured"] - summary.counters["made_up"]
    assert min(summary.account) >= 0 <= min(summary.counters.values())
    return summary


def walked(data: bytes, engine: Any, *, stutter: bool = False) -> Any:
    """Return the account of a capture file's octets; its books are checked on the way."""
    return as_json(summed(data, engine, stutter=stutter), top=1000)


def agree(data: bytes, *, views: bool = False) -> None:
    """A pcap or pcapng file: one account, compiled or not, whole or piece by piece; the slow reading gets through."""
    account = walked(data, Cleared(), stutter=True)
    assert account == walked(data, Cleared())  # in the memory that the first reading left
    if compiled.available():
        assert account == walked(data, compiled.Compiled())
    if views:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            looked = look([("fuzzed", read_packets(file.name))])
        assert sum(group["bytes"] for group in looked.messages["groups"].values()) <= account["bytes"]["captured"] + 9


def reader(data: bytes) -> None:
    """Any file: refused in one line, or read as far as it makes sense."""
    with contextlib.suppress(CaptureError):
        account = walked(data, Cleared())
        for entry in account["files"]:
            assert entry["stopped_at"] is None or 0 <= entry["stopped_at"] <= entry["bytes"]


def capture(data: bytes) -> bytes:
    """Return a capture that octets tell how to make: link type, then for each packet its fate and what it carries.

    So the fuzzer needs to find neither checksums nor lengths, and comes to the protocols at once.
    """
    linktype, frame = list(LINKS.values())[(data[0] if data else 0) % len(LINKS)]
    hosts = ("10.0.0.1", "10.0.0.2") if not data or data[0] < 128 else ("fd00::1", "fd00::2")
    talk = Conversation((hosts[0], 40000), (hosts[1], 1883), frame=frame, first=(0xFFFFFF00, 5000))
    packets, late = talk.open(), []
    at = 1
    while at + 2 <= len(data):
        fate, size = data[at], data[at + 1]
        said = talk.say(BROKER if fate & 1 else CLIENT, data[at + 2 : at + 2 + size])
        at += 2 + size
        cut = [packet[: len(packet) - (fate >> 4)] for packet in said] if fate & 8 else said
        packets += cut * (0, 1, 2, 1)[fate >> 1 & 3]
        if fate & 6 == 0:
            late += said
    packets += [*late, *talk.close()]
    records = b"".join(
        struct.pack("<IIII", i, 0, len(octets), len(octets)) + octets for i, octets in enumerate(packets)
    )
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype) + records


def walk(data: bytes) -> None:
    """Any conversation, torn in any way: the books balance."""
    summed(capture(data), Cleared())


def golden(data: bytes) -> None:
    """A golden capture, torn: see golden.py."""
    agree(data, views=True)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "codec_amqp": codec_amqp,
    "codec_mqtt": codec_mqtt,
    "reader": reader,
    "walk": walk,
    "golden": golden,
}
