"""Which part of a capture is asked for: by connection, by time, by kind of frame, by topic or routing key."""

import ipaddress
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.fragments import may_carry_tcp
from mqproof.dissectors.packets.links import IPPROTO_TCP, IPV4, find_network, find_transport
from mqproof.dissectors.packets.octets import short
from mqproof.dissectors.packets.pcap import Notes, Packet, read_packets

DATAGRAMS = 1024  # in fragments, remembered at the same time

Ends = tuple[tuple[str, int | None], tuple[str, int | None]]  # source and destination


class BadSelection(ValueError):
    """A filter that cannot be understood; one line that says what to write."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection; None where any will do."""

    host: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: ``after`` the first packet of the file, or ``absolute``, both in ns; one of them is None."""

    after: int | None
    absolute: int | None

    def at(self, first: int) -> int:
        """Return it in ns since 1970. ``first``: time of the file's first packet."""
        return first + (self.after or 0) if self.absolute is None else self.absolute


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for; empty where all is."""

    connections: tuple[tuple[End, ...], ...] = ()
    kinds: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    since: Moment | None = None
    until: Moment | None = None

    @property
    def of_packets(self) -> bool:
        """Whether packets are passed over."""
        return bool(self.connections or self.since or self.until)

    @property
    def of_frames(self) -> bool:
        """Whether only some frames of a packet may be asked for."""
        return bool(self.kinds or self.topics)

    def packets(self, path: str | Path, notes: Notes | None = None) -> Iterator[Packet | None]:
        """Yield a capture's packets, None for those that are not asked for. Raises CaptureError."""
        first: int | None = None
        datagrams = _Datagrams()
        for packet in read_packets(path, notes):
            first = packet.time if first is None else first
            early = self.since is not None and packet.time < self.since.at(first)
            late = self.until is not None and packet.time > self.until.at(first)
            yield packet if not early and not late and self._connected(packet, datagrams) else None

    def kind(self, name: str) -> bool:
        """Return whether frames of this kind are asked for."""
        return not self.kinds or any(fnmatchcase(name.lower(), pattern.lower()) for pattern in self.kinds)

    def message(self, protocol: str, name: str) -> bool:
        """Return whether messages of this topic, or ``exchange / routing key``, are asked for."""
        key = name.partition(" / ")[2] if protocol == "amqp" else name
        separator = "." if protocol == "amqp" else "/"
        words = tuple(key.split(separator))
        return not self.topics or any(_matches(tuple(each.split(separator)), words) for each in self.topics)

    def _connected(self, packet: Packet, datagrams: "_Datagrams") -> bool:
        if not self.connections:
            return True
        found = _ends(packet)
        if found is None:
            return False
        ends, identification = found
        fits = any(_fits(wanted, ends) for wanted in self.connections)
        return fits if identification is None else datagrams.fits(ends, identification, fits)


@dataclass(slots=True)
class _Datagrams:
    """Remembers of datagrams in fragments what their first fragment said: only that one has the ports."""

    _fit: OrderedDict[tuple[str, str, int], bool] = field(default_factory=OrderedDict)

    def fits(self, ends: Ends, identification: int, fits: bool) -> bool:
        """Return whether a fragment is asked for; one that comes before the first fragment is, if its hosts are."""
        key = (ends[0][0], ends[1][0], identification)
        if ends[0][1] is None:
            return self._fit.get(key, fits)
        self._fit[key] = fits
        self._fit.move_to_end(key)
        if len(self._fit) > DATAGRAMS:
            self._fit.popitem(last=False)
        return fits


def connection(text: str) -> tuple[End, ...]:
    """Return the ends that HOST, HOST:PORT, :PORT or two of them with - or "and" between mean. Raises BadSelection."""
    parts = re.split(r"\s+and\s+|\s*-\s*", text.strip())
    ends = tuple(_end(part, text) for part in parts)
    if len(ends) > 2:
        raise BadSelection(f"a connection has two ends, {text!r} names {len(ends)}")
    return ends


def moment(text: str) -> Moment:
    """Return what seconds (after the first packet) or a date and time (UTC unless it says otherwise) mean.

    Raises BadSelection.
    """
    try:
        return Moment(round(float(text) * 1e9), None)
    except (ValueError, OverflowError):
        pass
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        remedy = "write seconds after the first packet, such as 2.5, or a time such as 2026-01-31T12:00:00"
        raise BadSelection(f"{text!r} is no point in time: {remedy}") from None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return Moment(None, round(date.timestamp() * 1e9))


def topic(text: str) -> str:
    """Return a topic filter or binding pattern that is legal for one of the protocols. Raises BadSelection.

    In MQTT # stands for all levels that follow (5.0 section 4.7.1.2); in AMQP # may be any of the words between dots.
    """
    if "." not in text and any(level == "#" for level in text.split("/")[:-1]):
        raise BadSelection(f"{text!r} is no topic filter: # stands for all that follows, and has to be the last")
    return text


@lru_cache(4096)
def _matches(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Whether words fit a topic filter or binding pattern: + and * stand for one word, # for any number of them.

    Goes through the words once, with all places in the pattern that the ones before can have led to.
    """
    places = _with_none({0}, pattern)
    for word in words:
        stay = {place for place in places if pattern[place : place + 1] == ("#",)}
        go = {place + 1 for place in places - stay if pattern[place : place + 1] in (("+",), ("*",), (word,))}
        places = _with_none(stay | go, pattern)
    return len(pattern) in places


def _with_none(places: set[int], pattern: tuple[str, ...]) -> set[int]:
    """Return also the places that a # which stands for no word leads to."""
    for place in range(len(pattern)):
        if place in places and pattern[place] == "#":
            places.add(place + 1)
    return places


def _end(part: str, text: str) -> End:
    host, colon, port = part.rpartition(":") if part.count(":") < 2 or "]:" in part else (part, "", "")
    if not colon and not host:
        host, port = port, ""
    host = host.strip("[]")
    try:
        address = str(ipaddress.ip_address(host)) if host else None
        number = int(port) if port else None
    except ValueError:
        address = number = None
    if (address is None and number is None) or not 0 <= (number or 0) < 65536:
        raise BadSelection(f"{text!r} is no connection: write 10.0.0.1:40000, :1883 or 10.0.0.1:40000-10.0.0.2:1883")
    return End(address, number)


def _fits(wanted: tuple[End, ...], ends: Ends) -> bool:
    def is_one(end: End, found: tuple[str, int | None]) -> bool:
        return end.host in (None, found[0]) and (found[1] is None or end.port in (None, found[1]))

    if len(wanted) == 1:
        return is_one(wanted[0], ends[0]) or is_one(wanted[0], ends[1])
    return any(is_one(wanted[0], a) and is_one(wanted[1], b) for a, b in (ends, ends[::-1]))


def _ends(packet: Packet) -> tuple[Ends, int | None] | None:
    """Return source and destination of a TCP packet, and of a fragment the identification."""
    s, buf = [0] * w.REGISTERS, bytearray(packet.data)
    s[w.R_ORIGINAL] = packet.original
    if not find_network(buf, 0, len(buf), packet.linktype, s):
        return None
    whole = find_transport(buf, len(buf), s)
    if not may_carry_tcp(s) if s[w.FRAGMENT] else not whole or s[w.IP_PROTOCOL] != IPPROTO_TCP:
        return None
    at, size = (s[w.L3] + 12, 4) if s[w.ETHERTYPE] == IPV4 else (s[w.L3] + 8, 16)
    source, destination = (str(ipaddress.ip_address(bytes(buf[i : i + size]))) for i in (at, at + size))
    if s[w.FRAGMENT] and s[w.FRAGMENT_OFFSET]:
        return ((source, None), (destination, None)), s[w.FRAGMENT_ID]
    if len(buf) < s[w.L4] + 4:
        return None
    ends = (source, short(buf, s[w.L4])), (destination, short(buf, s[w.L4] + 2))
    return ends, s[w.FRAGMENT_ID] if s[w.FRAGMENT] else None
