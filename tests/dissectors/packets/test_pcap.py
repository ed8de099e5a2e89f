"""Capture files in all their shapes."""

import gzip
import io
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from mqproof.dissectors.packets.pcap import CaptureError, Notes, Packet, read_packets, write_packets

TIME = 1_700_000_000_123_456_789
MICRO = TIME // 1000 * 1000
DATA = [b"\1" * 60, b"", b"\2" * 61]


def pcap(sign: str, magic: int, unit: int, *, header: int = 16) -> bytes:
    records = b""
    for data in DATA:
        head = struct.pack(sign + "IIII", TIME // 10**9, TIME % 10**9 // unit, len(data), len(data) + 5)
        records += head + bytes(header - 16) + data
    return struct.pack(sign + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1) + records


def block(sign: str, kind: int, body: bytes) -> bytes:
    return struct.pack(sign + "II", kind, len(body) + 12) + body + struct.pack(sign + "I", len(body) + 12)


def section(sign: str, *blocks: bytes) -> bytes:
    return block(sign, 0x0A0D0D0A, struct.pack(sign + "IHHq", 0x1A2B3C4D, 1, 0, -1)) + b"".join(blocks)


def interface(sign: str, linktype: int, *options: tuple[int, bytes], snap: int = 0) -> bytes:
    body = struct.pack(sign + "HHI", linktype, 0, snap)
    for code, value in options:
        body += struct.pack(sign + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)
    return block(sign, 1, body)


def enhanced(sign: str, number: int, ticks: int, data: bytes) -> bytes:
    head = struct.pack(sign + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data) + 5)
    return block(sign, 6, head + data + b"\0" * (-len(data) % 4))


def read(path: Path, octets: bytes, notes: Notes | None = None) -> list[Packet]:
    path.write_bytes(octets)
    return list(read_packets(path, notes))


@pytest.mark.parametrize("sign", [">", "<"])
@pytest.mark.parametrize(("magic", "unit", "time"), [(0xA1B2C3D4, 1000, MICRO), (0xA1B23C4D, 1, TIME)])
def test_pcap(tmp_path: Path, sign: str, magic: int, unit: int, time: int) -> None:
    packets = read(tmp_path / "a", pcap(sign, magic, unit))
    assert packets == [Packet(time, data, len(data) + 5, 1) for data in DATA]


def test_pcap_with_longer_record_headers(tmp_path: Path) -> None:
    packets = read(tmp_path / "a", pcap("<", 0xA1B2CD34, 1000, header=24))
    assert [packet.data for packet in packets] == DATA


@pytest.mark.parametrize("sign", [">", "<"])
def test_pcapng_with_several_interfaces_and_sections(tmp_path: Path, sign: str) -> None:
    other = ">" if sign == "<" else "<"
    octets = section(
        sign,
        interface(sign, 1),
        interface(sign, 101, (9, b"\x09")),
        interface(sign, 0, (9, bytes((0x80 | 20,))), (14, struct.pack(sign + "q", 1000))),
        enhanced(sign, 0, TIME // 1000, DATA[0]),
        block(sign, 5, bytes(8)),  # interface statistics: passed over
        enhanced(sign, 1, TIME, DATA[1]),
        enhanced(sign, 2, 3 << 19, DATA[2]),
    ) + section(other, interface(other, 113), enhanced(other, 0, TIME // 1000, DATA[0]))
    assert read(tmp_path / "a", octets) == [
        Packet(MICRO, DATA[0], 65, 1),
        Packet(TIME, DATA[1], 5, 101),
        Packet(1001_500_000_000, DATA[2], 66, 0),
        Packet(MICRO, DATA[0], 65, 113),
    ]


def test_simple_and_obsolete_packet_blocks(tmp_path: Path) -> None:
    simple = block("<", 3, struct.pack("<I", 40) + bytes(10) + bytes(2))
    old = block("<", 2, struct.pack("<HHIIII", 0, 0, 0, 5, 4, 9) + b"abcd")
    packets = read(tmp_path / "a", section("<", interface("<", 1, snap=10), simple, old))
    assert packets == [Packet(0, bytes(10), 40, 1), Packet(5000, b"abcd", 9, 1)]


@pytest.mark.parametrize("sign", [">", "<"])
def test_comments_of_packets_and_blocks_that_nobody_knows_are_passed(tmp_path: Path, sign: str) -> None:
    comment = struct.pack(sign + "HH", 1, 5) + b"hello" + bytes(3) + bytes(4)  # opt_comment, opt_endofopt
    head = struct.pack(sign + "IIIII", 0, 0, 7, 4, 4)
    octets = section(
        sign,
        interface(sign, 1, (1, b"a comment on the interface"), (2, b"eth0")),
        block(sign, 6, head + b"abcd" + comment),
        block(sign, 0x40000BAD, bytes(1000)),
        block(sign, 0x7FFFFFFF, b""),
        block(sign, 4, bytes(4)),  # name resolution
        enhanced(sign, 0, TIME // 1000, DATA[0]),
    )
    assert read(tmp_path / "a", octets) == [Packet(7000, b"abcd", 4, 1), Packet(MICRO, DATA[0], 65, 1)]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    packets = [Packet(TIME + i, data, len(data) + 3, 101) for i, data in enumerate(DATA)]
    write_packets(tmp_path / "a", packets, 101, comment="why")
    notes = Notes()
    assert list(read_packets(tmp_path / "a", notes)) == packets
    assert notes.comments == ["why"]
    assert notes.size == (tmp_path / "a").stat().st_size
    assert notes.stopped_at is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: pcap("<", 0xA1B2C3D4, 1000),
        lambda: section("<", interface("<", 1), enhanced("<", 0, 1, DATA[0]), enhanced("<", 0, 1, DATA[2])),
    ],
)
def test_a_file_cut_off_anywhere_gives_what_is_there(tmp_path: Path, make: object) -> None:
    octets = make()  # type: ignore[operator]
    whole = read(tmp_path / "a", octets)
    ends = []
    for size in range(24, len(octets)):
        notes = Notes()
        packets = read(tmp_path / "a", octets[:size], notes)
        assert packets == whole[: len(packets)]
        if notes.stopped_at is None:
            ends.append(size)  # a record ends here
        else:
            assert notes.stopped_at <= size
            assert len(packets) < len(whole)
    assert len(ends) <= len(whole) + 2


@pytest.mark.parametrize(
    ("octets", "complaint"),
    [
        (b"", "is empty"),
        (b"GIF89a and so on", "is no pcap or pcapng file: it begins with 47 49 46 38"),
        (b"hi", "it begins with 68 69$"),
        (b"\xd4\xc3\xb2\xa1\2\0", "ends in its file header, at byte 6"),
    ],
)
def test_no_capture_is_told_in_one_line(tmp_path: Path, octets: bytes, complaint: str) -> None:
    with pytest.raises(CaptureError, match=complaint) as caught:
        read(tmp_path / "a", octets)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 4, 13, 0xFFFFFFFC])
def test_a_block_with_an_impossible_size_ends_the_file(tmp_path: Path, size: int) -> None:
    good = section("<", interface("<", 1), enhanced("<", 0, 1, DATA[0]))
    notes = Notes()
    packets = read(tmp_path / "a", good + struct.pack("<II", 6, size) + bytes(100), notes)
    assert len(packets) == 1
    assert notes.stopped_at == len(good)


def test_a_record_that_claims_gigabytes_ends_the_file(tmp_path: Path) -> None:
    good = pcap("<", 0xA1B2C3D4, 1000)
    notes = Notes()
    assert len(read(tmp_path / "a", good + struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31) + bytes(100), notes)) == 3
    assert notes.stopped_at == len(good)


def test_a_packet_of_an_interface_that_was_not_described(tmp_path: Path) -> None:
    notes = Notes()
    assert read(tmp_path / "a", section("<", interface("<", 1), enhanced("<", 1, 1, b"x")), notes) == []
    assert notes.stopped_at is not None


@pytest.mark.parametrize("tool", ["gzip", "zstd"])
def test_compressed_files(tmp_path: Path, tool: str) -> None:
    octets = pcap("<", 0xA1B2C3D4, 1000)
    path = tmp_path / "a"
    if tool == "gzip":
        path.write_bytes(gzip.compress(octets))
    else:
        if shutil.which("zstd") is None:
            pytest.skip("zstd is not installed")
        path.write_bytes(subprocess.run(["zstd", "-qc"], input=octets, capture_output=True, check=True).stdout)
    notes = Notes()
    assert [packet.data for packet in read_packets(path, notes)] == DATA
    assert notes.size == len(octets)


def test_compressed_files_that_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(pcap("<", 0xA1B2C3D4, 1000))[:-20])
    notes = Notes()
    assert len(list(read_packets(path, notes))) <= 3
    assert notes.stopped_at is not None


def test_compressed_files_that_are_damaged(tmp_path: Path) -> None:
    octets = bytearray(gzip.compress(pcap("<", 0xA1B2C3D4, 1000)))
    octets[10] |= 0b110  # a block of a kind that deflate does not have
    path = tmp_path / "a"
    path.write_bytes(octets)
    with pytest.raises(CaptureError, match="is empty: reading failed: Error -3 while decompressing"):
        list(read_packets(path))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(pcap("<", 0xA1B2C3D4, 1000))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert [packet.data for packet in read_packets("-")] == DATA
