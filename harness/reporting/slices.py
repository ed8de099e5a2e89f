"""The conversations of one test as a small capture that Wireshark opens: its octets are what was said, masked.

TCP/IP headers are made up, and the file says so; times are those of the conversation. The whole traffic of a run is
what ``--record`` captures.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation, raw
from mqproof.dissectors.packets.pcap import MADE_UP_COMMENT, Writer
from mqproof.harness.evidence import masked_bytes
from mqproof.harness.targets.target import DEFAULT_PORTS
from mqproof.harness.wires.base import Line, Transcript

LINKTYPE_RAW: Final = 101
MOST_OCTETS: Final = 256 << 10  # of one slice; the end is what tells, so that the beginning is left out
FIRST_PORT: Final = 40_001
ADDRESSES: Final = ("127.0.0.1", "127.1.0.0")


def slice_of(transcripts: Iterable[Transcript], protocol: str, secrets: tuple[str, ...]) -> bytes:
    """Return the conversations as pcapng; none where nothing was said."""
    talks = []
    packets: list[tuple[int, bytes]] = []
    for number, transcript in enumerate(transcripts):
        client, broker = (ADDRESSES[0], FIRST_PORT + number), (ADDRESSES[1], DEFAULT_PORTS[protocol])
        talks.append(Conversation(client, broker, frame=raw))
        packets += _packets(transcript, talks[-1], secrets)
    packets.sort(key=lambda entry: entry[0])
    with tempfile.TemporaryDirectory(prefix="mqproof-slice-") as folder:
        file = Path(folder) / "slice.pcapng"
        with Writer(file, LINKTYPE_RAW, comment=MADE_UP_COMMENT) as writer:
            for moment, packet in packets:
                writer.write(moment, packet)
        return file.read_bytes() if packets else b""


def _last_said(transcript: Transcript) -> list[Line]:
    """Return the last lines with octets that together are small enough."""
    room = MOST_OCTETS
    said: list[Line] = []
    for line in reversed(transcript.lines):
        if line.octets and line.direction in "<>":
            room -= len(line.octets)
            if room < 0:
                break
            said.append(line)
    return said[::-1]


def _packets(transcript: Transcript, talk: Conversation, secrets: tuple[str, ...]) -> list[tuple[int, bytes]]:
    """Return one connection's packets with their times in nanoseconds."""
    began = round(transcript.started * 1e9)
    said = _last_said(transcript)
    made = [(began, packet) for packet in talk.open()] if said else []
    for line in said:
        side = CLIENT if line.direction == ">" else BROKER
        moment = began + round(line.time * 1e9)
        made += [(moment, packet) for packet in talk.say(side, masked_bytes(line.octets, secrets))]
    return made
