"""The slow reading: messages and findings of one or several captures, in one pass."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mqproof.dissectors.overhead.findings import Findings
from mqproof.dissectors.overhead.frames import Follower, Watcher
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


def look(
    files: Iterable[tuple[str, Iterable[Packet | None]]],
    others: Sequence[Watcher] = (),
    *,
    wanted: Callable[[str, str], bool] = lambda protocol, name: True,
) -> Views:
    """Follow messages and collect findings in files, given by name and packets; ``others`` watch along.

    ``wanted``: which messages to show, by protocol and topic (or exchange and routing key). Raises
    CaptureError.
    """
    findings = Findings()
    messages = MessageView(findings.note, wanted)
    follower = Follower((messages, findings, *others))
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
