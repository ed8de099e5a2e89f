"""The slow reading: messages and findings of one or several captures, in one pass."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mqproof.dissectors.overhead.findings import Findings
from mqproof.dissectors.overhead.frames import Connection, Follower, Watcher
from mqproof.dissectors.overhead.messages import MessageView
from mqproof.dissectors.packets.pcap import Packet


@dataclass(frozen=True, slots=True)
class Views:
    """What the slow reading came to."""

    messages: dict[str, Any]
    findings: list[dict[str, Any]]
    connections_dropped: int
    frames_too_large: int
    findings_dropped: int


class Clients(Watcher):
    """Finds out who is the client of connections that began before the capture: a later packet may tell."""

    def __init__(self) -> None:
        self.sides: dict[tuple[str, int], int] = {}

    def ended(self, connection: Connection, time: int) -> None:
        """Note what is known in the end."""
        if connection.client >= 0 and not connection.began:
            self.sides[connection.file, connection.number] = connection.client


def clients(
    files: Iterable[tuple[str, Iterable[Packet | None]]], *, decode_as: Mapping[int, int] | None = None
) -> dict[tuple[str, int], int]:
    """Return the client's side of each connection that began before its capture, as far as anything tells it."""
    found = Clients()
    follower = Follower((found,), decode_as=decode_as)
    for name, packets in files:
        follower.file(packets, name)
    return found.sides


def look(
    files: Iterable[tuple[str, Iterable[Packet | None]]],
    others: Sequence[Watcher] = (),
    *,
    sides: Mapping[tuple[str, int], int] | None = None,
    wanted: Callable[[str, str], bool] = lambda protocol, name: True,
    decode_as: Mapping[int, int] | None = None,
) -> Views:
    """Follow messages and collect findings in files, given by name and packets; ``others`` watch along.

    ``sides``: what :func:`clients` found, where connections began before the capture. ``wanted``: which messages to
    show, by protocol and topic (or exchange and routing key). ``decode_as``: as for the walk. Raises CaptureError.
    """
    findings = Findings()
    messages = MessageView(findings.note, wanted)
    follower = Follower((messages, findings, *others), sides, decode_as)
    for name, packets in files:
        follower.file(packets, name)
    messages.finish()
    reading = follower.reading
    return Views(
        messages.as_json(),
        findings.as_json(),
        reading.connections_dropped,
        reading.frames_too_large,
        findings.dropped,
    )
