"""What ``mqproof analyze`` does: choose packets, make the account, look at messages and findings, write it all."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mqproof.dissectors.overhead.selection import BadSelection, Selection, connection, moment, topic
from mqproof.dissectors.packets.pcap import MADE_UP_COMMENT, CaptureError, Notes, Packet, Writer
from mqproof.harness.reporting.reading import reading

if TYPE_CHECKING:
    from mqproof.dissectors.overhead.frames import Watcher


@dataclass(frozen=True, slots=True)
class Chosen:
    """Captures to analyze: ``paths`` to read for the account, and what they are called."""

    names: list[str]
    originals: list[str]  # with all packets
    paths: list[str]  # with the packets that were asked for
    notes: list[Notes] = field(default_factory=list)  # of the originals, where not all packets were asked for


def selection(
    connections: list[str], kinds: list[str], topics: list[str], since: str | None, until: str | None
) -> Selection:
    """Return what the options ask for. Raises BadSelection."""
    return Selection(
        tuple(map(connection, connections)),
        tuple(kinds),
        tuple(map(topic, topics)),
        None if since is None else moment(since),
        None if until is None else moment(until),
    )


@contextlib.contextmanager
def chosen(names: list[str], wanted: Selection, *, read_twice: bool) -> Iterator[Chosen]:
    """Yield the captures with the packets that are asked for; copies are the owner's only, and removed afterwards.

    Standard input that has to be read twice is copied as well. Raises CaptureError.
    """
    with contextlib.ExitStack() as stack:
        originals = list(names)
        if wanted.of_packets or (read_twice and "-" in names):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mqproof-")))
            originals = [_spooled(folder) if name == "-" else name for name in names]
        if not wanted.of_packets:
            yield Chosen(list(names), originals, originals)
            return
        picked = []
        for number, (name, original) in enumerate(zip(names, originals, strict=True)):
            notes, path = Notes(), folder / f"{number}.pcapng"
            if _pick(original, path, wanted, notes):
                picked.append((name, original, str(path), notes))
        if not picked:
            raise BadSelection(f"{', '.join(names)}: no packet is of the connections and times that were asked for")
        yield Chosen(*map(list, zip(*picked, strict=True)))


def _spooled(folder: Path) -> str:
    path = folder / "standard-input"
    with path.open("wb") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return str(path)


def _pick(original: str, path: Path, wanted: Selection, notes: Notes) -> bool:
    """Write the packets that are asked for to ``path``; return whether there are any."""
    writer, linktype = None, 0
    with contextlib.ExitStack() as stack:
        for packet in wanted.packets(original, notes):
            if packet is None:
                continue
            if writer is None:
                linktype = packet.linktype
                comment = next((text for text in notes.comments if text.startswith(MADE_UP_COMMENT)), "")
                writer = stack.enter_context(Writer(path, linktype, comment=comment))
            if packet.linktype != linktype:
                raise CaptureError(f"{original} has packets of several link types: filters by packet need one")
            writer.write(packet.time, packet.data, packet.original)
    return writer is not None


def rename(account: dict[str, Any], files: Chosen) -> None:
    """Call the files what the user calls them; the size of the copy that holds a selection is nobody's concern."""
    for number, (entry, name) in enumerate(zip(account["files"], files.names, strict=True)):
        entry["name"] = name
        if files.notes:
            notes = files.notes[number]
            entry |= {"bytes": notes.size, "comments": notes.comments, "stopped_at": notes.stopped_at}
            entry["stopped_why"] = notes.stopped_why or None
    if files.notes:
        account["bytes"]["file_framing"] = None


def other_watchers(html: Path | None, workload_out: Path | None) -> "tuple[Watcher, ...]":
    """Return who watches the slow reading beside the message view and the findings."""
    if not html and not workload_out:
        return ()  # nor is what would watch imported
    from mqproof.dissectors.overhead.timeline import Timeline
    from mqproof.harness.workload_capture import Profile

    return (*((Timeline(),) if html else ()), *((Profile(),) if workload_out else ()))


def write_others(
    account: dict[str, Any], watchers: "tuple[Watcher, ...]", html: Path | None, workload_out: Path | None
) -> None:
    """Write page and workload. Raises BadSelection, NoTraffic."""
    if not watchers:
        return
    from mqproof.dissectors.overhead.timeline import Timeline
    from mqproof.harness.workload import as_toml
    from mqproof.harness.workload_capture import Profile

    for watcher in watchers:
        if isinstance(watcher, Profile) and workload_out is not None:
            write(workload_out, as_toml(watcher.workload("Traffic of a capture")))
        elif isinstance(watcher, Timeline) and html is not None:
            from mqproof.harness.reporting.account_page import account_page

            write(html, account_page(account, watcher.series(), watcher.slice / 1e9))


def write(path: Path, text: str) -> None:
    """Write a file of the user's. Raises BadSelection, with what is wrong."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadSelection(f"cannot write {path}: {error.strerror or error}") from None


def add_views(
    account: dict[str, Any], files: Chosen, wanted: Selection, others: "tuple[Watcher, ...]" = (),
    decode_as: Mapping[int, int] | None = None,
) -> None:  # fmt: skip
    """Add followed messages, findings and the selected frames to the account. Raises CaptureError."""
    from mqproof.dissectors.overhead.tally import Tally
    from mqproof.dissectors.overhead.views import clients, look

    tally = Tally(wanted)
    pairs = list(zip(files.names, files.originals, strict=True))
    sides = None
    if account["streams"]["mid_stream"]:
        with reading(files.originals, "who is client") as progress:
            sides = clients(((name, _told(path, wanted, progress)) for name, path in pairs), decode_as=decode_as)
    with reading(files.originals, "message by message") as progress:
        packets = ((name, _told(path, wanted, progress)) for name, path in pairs)
        views = look(packets, (tally, *others), sides=sides, wanted=wanted.message, decode_as=decode_as)
    account["followed"] = views.messages
    account["findings"] = views.findings
    account["selected"] = tally.as_json() if wanted.of_frames else None
    account["not_followed"] = {
        "connections": views.connections_dropped,
        "frames": views.frames_too_large,
        "findings": views.findings_dropped,
    }
    if wanted.of_frames:
        _restrict(account, wanted)


def _told(path: str, wanted: Selection, progress: Callable[[int], None] | None) -> Iterator[Packet | None]:
    """Yield the packets of a capture, and tell now and then how far they have come."""
    notes = Notes()
    for number, packet in enumerate(wanted.packets(path, notes)):
        if progress is not None and number & 0xFFF == 0:
            progress(notes.size)
        yield packet


def _restrict(account: dict[str, Any], wanted: Selection) -> None:
    """Leave only rows of what is asked for; octets by layer and purpose are those of the packets."""
    for protocol, rows in account["kinds"].items():
        account["kinds"][protocol] = {name: row for name, row in rows.items() if wanted.kind(name)}
    for protocol, table in (("mqtt", "topics"), ("amqp", "routing_keys")):
        rows = account[table]["top"]
        account[table]["top"] = [row for row in rows if wanted.message(protocol, _name(row))]


def _name(row: dict[str, Any]) -> str:
    return str(row["topic"]) if "topic" in row else f"{row['exchange']} / {row['routing_key']}"
