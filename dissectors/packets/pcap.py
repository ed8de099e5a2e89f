"""Capture files: open and read (pcap, pcapng; gzip, zstd, standard input), and write pcapng.

Reading for the account goes through the kernels in chunks (:class:`Source`); :func:`read_packets` gives single packets
to whoever wants to look at them or to write them again.
"""

import contextlib
import gzip
import io
import os
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.records import INTERFACE_BLOCK, PACKET, SECTION_BLOCK, next_record
from mqproof.dissectors.packets.state import Words

CHUNK: Final = 4 << 20
MAX_RECORD: Final = 2 << 20  # larger than any snap length in use; a record beyond it is damage, not a packet
MADE_UP_COMMENT: Final = "made-up TCP/IP headers: recorded by a proxy that saw the streams only"
_MAGICS: Final = {
    b"\xa1\xb2\xc3\xd4": (1, 1000, w.PCAP),
    b"\xd4\xc3\xb2\xa1": (0, 1000, w.PCAP),
    b"\xa1\xb2\x3c\x4d": (1, 1, w.PCAP),
    b"\x4d\x3c\xb2\xa1": (0, 1, w.PCAP),
    b"\xa1\xb2\xcd\x34": (1, 1000, w.PCAP_MODIFIED),
    b"\x34\xcd\xb2\xa1": (0, 1000, w.PCAP_MODIFIED),
}


class CaptureError(Exception):
    """A file that is no capture, or is damaged at its beginning; one line that says what and where."""


@dataclass
class Notes:
    """What reading a file showed, apart from its packets."""

    size: int = 0
    comments: list[str] = field(default_factory=list)
    stopped_at: int | None = None  # the octet (uncompressed) where the file stops making sense
    stopped_why: str = ""


class Source:
    """A capture that is open: fills a buffer, and handles section and interface blocks."""

    def __init__(self, name: str, file: BinaryIO | None = None) -> None:
        """Open ``name`` ("-" is standard input), or read ``file``, which is open. Raises CaptureError."""
        self.name = name
        self._given = file
        self._decompressor: subprocess.Popen[bytes] | None = None
        self.notes = Notes()
        self.buffer = bytearray(CHUNK)
        self.end = 0  # octets in the buffer
        self.base = 0  # the file's offset of the buffer's first octet
        self._stack = contextlib.ExitStack()
        self._file = self._open()

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, s: Words) -> None:
        """Read the file's header into the registers. Raises CaptureError."""
        while self.end < 4 and self._read():
            pass
        if self.end == 0:
            why = f": {self.notes.stopped_why}" if self.notes.stopped_why else ""
            raise CaptureError(f"{self.name} is empty{why}")
        magic = bytes(self.buffer[: min(4, self.end)])
        s[w.SKIP] = 0
        s[w.POS] = 0
        s[w.MAX_RECORD] = MAX_RECORD
        s[w.SYNTHETIC] = 0
        if magic in _MAGICS:
            self._start_pcap(magic, s)
        elif magic == b"\x0a\x0d\x0d\x0a":
            s[w.FORMAT] = w.PCAPNG
            s[w.SECTION_IFACES] = 0
        else:
            raise CaptureError(f"{self.name} is no pcap or pcapng file: it begins with {magic.hex(' ')}")

    def more(self, s: Words) -> bool:
        """Move what POS leaves to the buffer's front and read on. False at the end of the file."""
        at = s[w.POS]
        left = self.end - at
        if at:
            self.buffer[:left] = self.buffer[at : self.end]
            self.base += at
            s[w.POS] = 0
            self.end = left
        if left == len(self.buffer):
            return False
        if self._read():
            return True
        if left or s[w.SKIP]:
            self._stop(self.base, "the file ends in the middle of a record")
        return False

    def block(self, s: Words) -> bool:
        """Handle the section or interface block at POS. False where the file ends in it, or it is damaged."""
        while True:
            status = self._block(s)
            if status is not None:
                return status
            if not self.more(s):
                return False

    def corrupt(self, s: Words) -> None:
        """Note that the record at POS cannot be one."""
        self._stop(self.base + int(s[w.POS]), "the record's sizes make no sense")

    def _stop(self, at: int, why: str) -> None:
        if self.notes.stopped_at is not None:
            return  # the first reason is the reason
        self.notes.stopped_at = at
        self.notes.stopped_why = why

    def _open(self) -> BinaryIO:
        raw: BinaryIO
        try:
            if self._given is not None:
                raw = self._given
            elif self.name == "-":
                raw = sys.stdin.buffer
            else:
                raw = self._stack.enter_context(open(self.name, "rb", buffering=0))  # noqa: SIM115
        except OSError as error:
            raise CaptureError(f"cannot read {self.name}: {error.strerror}") from error
        self._raw = raw
        return self._uncompressed(raw)

    def _uncompressed(self, raw: BinaryIO) -> BinaryIO:
        """Look at the first octets; decompress gzip and zstd."""
        first = raw.read(4) or b""
        self.buffer[: len(first)] = first
        self.end = len(first)
        self.notes.size = len(first)
        if first[:2] == b"\x1f\x8b":
            joined = self._stack.enter_context(io.BufferedReader(_Joined(first, raw)))
            self.end = self.notes.size = 0
            return self._stack.enter_context(gzip.GzipFile(fileobj=joined))  # type: ignore[return-value]
        if first == b"\x28\xb5\x2f\xfd":
            self.end = self.notes.size = 0
            return self._zstd(first, raw)
        return raw

    def _zstd(self, first: bytes, raw: BinaryIO) -> BinaryIO:
        tool = shutil.which("zstd")
        if tool is None:
            raise CaptureError(f"{self.name} is compressed with zstd: install the zstd command, or decompress it first")
        if self.name != "-" and self._given is None:
            command = [tool, "-dcq", "--", self.name]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        else:
            process = _piped([tool, "-dcq"], first, raw)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        self._decompressor = process
        return process.stdout  # type: ignore[return-value]

    def position(self) -> int:
        """Return how far the file itself has been read, compressed as it may be; 0 where that cannot be told."""
        if self._decompressor is None and self._raw.seekable():
            return self._raw.tell()
        return 0

    def _read(self) -> bool:
        """Read once: what is there, up to the buffer's end. False at the end of the file."""
        view = memoryview(self.buffer)[self.end :]
        try:
            read = getattr(self._file, "readinto1", None) or self._file.readinto  # type: ignore[attr-defined]
            count = read(view)
        except (OSError, EOFError, zlib.error) as error:
            self._stop(self.base + self.end, f"reading failed: {error}")
            return False
        finally:
            view.release()
        if not count:
            if self._decompressor is not None and self._decompressor.wait():
                self._stop(self.base + self.end, "the compressed data is damaged or cut off")
            return False
        self.end += count
        self.notes.size += count
        return True

    def _start_pcap(self, magic: bytes, s: Words) -> None:
        while self.end < 24:
            if not self._read():
                raise CaptureError(f"{self.name} ends in its file header, at byte {self.end}")
        big, multiply, form = _MAGICS[magic]
        linktype = int.from_bytes(self.buffer[20:24], "big" if big else "little") & 0x0FFFFFFF
        s[w.FORMAT] = form
        s[w.BIG_ENDIAN] = big
        s[w.SECTION_IFACES] = 1
        s[w.IFACES + w.I_LINKTYPE] = linktype
        s[w.IFACES + w.I_MULTIPLY] = multiply
        s[w.POS] = 24

    def _block(self, s: Words) -> bool | None:
        at = int(s[w.POS])
        if self.end - at < 12:
            return None
        head = bytes(self.buffer[at : at + 12])
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            order = {b"\x1a\x2b\x3c\x4d": 1, b"\x4d\x3c\x2b\x1a": 0}.get(head[8:12])
            if order is None:
                self._stop(self.base + at, "a section header without a byte-order mark")
                return False
            s[w.BIG_ENDIAN] = order
            s[w.SECTION_IFACES] = 0
        sign = ">" if s[w.BIG_ENDIAN] else "<"
        kind, size = struct.unpack(sign + "II", head[:8])
        if size < 20 or size & 3 or size > MAX_RECORD:
            self.corrupt(s)
            return False
        if self.end - at < size:
            return None
        body = bytes(self.buffer[at + 8 : at + size - 4])
        if kind == SECTION_BLOCK:
            self._section(body, sign, s)
        elif not self._interface(body, sign, s):
            return False
        s[w.POS] = at + size
        return True

    def _section(self, body: bytes, sign: str, s: Words) -> None:
        for code, value in _options(body[16:], sign):
            if code == 1:
                text = value.decode("utf-8", "replace")
                self.notes.comments.append(text)
                if text.startswith(MADE_UP_COMMENT):
                    s[w.SYNTHETIC] = 1

    def _interface(self, body: bytes, sign: str, s: Words) -> bool:
        number = s[w.SECTION_IFACES]
        if number >= w.MAX_IFACES:
            self._stop(self.base + int(s[w.POS]), f"more than {w.MAX_IFACES} interfaces")
            return False
        linktype, _, snap = struct.unpack(sign + "HHI", body[:8])
        base, exponent, offset = 10, 6, 0
        for code, value in _options(body[8:], sign):
            if code == 9 and len(value) == 1:  # if_tsresol
                base, exponent = (2, value[0] & 127) if value[0] & 128 else (10, value[0])
            elif code == 14 and len(value) == 8:  # if_tsoffset
                offset = struct.unpack(sign + "q", value)[0]
        if exponent > (12 if base == 10 else 62) or abs(offset) > w.LAST_SECOND:
            self._stop(self.base + int(s[w.POS]), "an interface with a clock finer than picoseconds or out of all time")
            return False
        row = w.IFACES + number * w.IFACE_WORDS
        s[row + w.I_LINKTYPE] = linktype
        s[row + w.I_SNAP] = snap
        s[row + w.I_OFFSET] = offset
        s[row + w.I_POWER] = exponent if base == 2 and exponent else 0
        s[row + w.I_DIVIDE] = 10**exponent if base == 10 else 1
        s[row + w.I_MULTIPLY] = 10 ** (12 - exponent) if base == 10 else 0
        s[w.SECTION_IFACES] = number + 1
        return True


def _piped(command: list[str], first: bytes, rest: BinaryIO) -> "subprocess.Popen[bytes]":
    """Start a filter and let a thread give it a stream, of which a few octets were read already."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    sink = process.stdin
    assert sink is not None

    def pump() -> None:
        with contextlib.suppress(OSError, ValueError):  # it has ended: its exit code tells
            sink.write(first)
            while octets := getattr(rest, "read1", rest.read)(1 << 16):
                sink.write(octets)
                sink.flush()
        with contextlib.suppress(OSError):
            sink.close()

    threading.Thread(target=pump, daemon=True).start()
    return process


class _Joined(io.RawIOBase):
    """A file from which a few octets were read already."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._first or self._rest.read(len(target)) or b""
        taken, self._first = data[: len(target)], b"" if not self._first else data[len(target) :]
        target[: len(taken)] = taken
        return len(taken)


def _options(data: bytes, sign: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(sign + "HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + (size + 3) // 4 * 4


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: ``time`` in nanoseconds since 1970, ``original``: its length on the wire."""

    time: int
    data: bytes
    original: int
    linktype: int


def read_packets(path: str | Path, notes: Notes | None = None) -> Iterator[Packet]:
    """Yield the packets of a capture. ``notes`` is filled in by the end. Raises CaptureError."""
    s: Words = [0] * (w.IFACES + w.MAX_IFACES * w.IFACE_WORDS)
    with Source(str(path)) as source:
        if notes is not None:
            source.notes = notes
            notes.size = source.end
        source.start(s)
        while True:
            status = next_record(source.buffer, source.end, s)
            if status == PACKET:
                at, size = s[w.R_AT], s[w.R_CAPTURED]
                data = bytes(source.buffer[at : at + size])
                yield Packet(s[w.R_TIME], data, s[w.R_ORIGINAL], s[w.R_LINKTYPE])
                s[w.POS] = s[w.R_NEXT]
            elif status == w.MORE:
                if not source.more(s):
                    return
            elif status == w.CORRUPT:
                source.corrupt(s)
                return
            elif not source.block(s):
                return


class Writer:
    """Writes pcapng with one interface and nanosecond timestamps. Use as a context manager.

    ``mode``: the file's permissions; captures may hold secrets, so only the owner may read them.
    """

    def __init__(self, path: str | Path, linktype: int, *, comment: str = "", mode: int = 0o600) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        self._file = os.fdopen(descriptor, "wb")
        self.packets = 0
        options = _option(1, comment.encode()) + _option(4, b"mqproof") if comment else _option(4, b"mqproof")
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options + _option(0, b"")
        self._block(SECTION_BLOCK, section)
        self._block(INTERFACE_BLOCK, struct.pack("<HHI", linktype, 0, 0) + _option(9, b"\x09") + _option(0, b""))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, time: int, data: bytes, original: int | None = None) -> None:
        """Write one packet; ``time``: nanoseconds since 1970."""
        size = len(data)
        head = struct.pack("<IIIII", 0, time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF, size, original or size)
        self._block(6, head + data + b"\0" * (-size % 4))
        self.packets += 1

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _block(self, kind: int, body: bytes) -> None:
        size = len(body) + 12
        self._file.write(struct.pack("<II", kind, size) + body + struct.pack("<I", size))


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def write_packets(path: str | Path, packets: Iterable[Packet], linktype: int, *, comment: str = "") -> None:
    """Write a capture of one link type."""
    with Writer(path, linktype, comment=comment) as writer:
        for packet in packets:
            writer.write(packet.time, packet.data, packet.original)
