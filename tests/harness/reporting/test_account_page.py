"""The account's page: everything in it, nothing asked of anybody else, nothing of a capture is markup."""

import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mqproof.dissectors.overhead.frames import Connection, Segment
from mqproof.dissectors.overhead.timeline import SLICES, Timeline
from mqproof.dissectors.packets.craft import CLIENT, Conversation
from mqproof.dissectors.packets.pcap import Packet, write_packets

Mqproof = Callable[..., subprocess.CompletedProcess[str]]
CAPTURES = Path(__file__).parents[3] / "captures"


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "data", "action")]


def page_of(mqproof: Mqproof, path: Path, *options: object) -> str:
    done = mqproof("analyze", *options, "--html", path)
    assert done.returncode == 0, done.stderr
    return path.read_text()


def test_the_page_has_charts_and_tables_and_calls_nobody(mqproof: Mqproof, tmp_path: Path) -> None:
    page = page_of(mqproof, tmp_path / "x.html", CAPTURES / "amqp-messages.pcapng", CAPTURES / "mqtt-5.0.pcapng")
    tags = Tags(page)
    assert tags.names.count("svg") == 4
    assert tags.addresses == []
    assert not {"script", "link", "img", "iframe", "object"} & set(tags.names)
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page
    for words in ("Bytes by layer", "Overhead against payload size", "Timeline", "nagle-delayed-ack", "home/room0"):
        assert words in page


def test_nothing_of_a_capture_is_markup(mqproof: Mqproof, tmp_path: Path) -> None:
    talk = Conversation()
    name = b"<script>alert(1)</script>\x1b[31m"
    publish = bytes([0x30, len(name) + 3, 0, len(name)]) + name + b"x"
    packets = [*talk.open(), *talk.say(CLIENT, b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2me" + publish)]
    path = tmp_path / "<b>evil.pcapng"
    write_packets(path, [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    page = page_of(mqproof, tmp_path / "x.html", path)
    assert not {"script", "b"} & set(Tags(page).names)
    assert "\x1b" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_capture_without_messages_makes_a_page(mqproof: Mqproof, tmp_path: Path) -> None:
    page = page_of(mqproof, tmp_path / "x.html", CAPTURES / "mqtt-large-connect.pcapng")
    assert "There is no message to follow" in page


def test_a_page_that_cannot_be_written_gets_one_line(mqproof: Mqproof, tmp_path: Path) -> None:
    done = mqproof("analyze", CAPTURES / "mqtt-5.0.pcapng", "--html", tmp_path / "nowhere" / "x.html")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot write" in done.stderr


@pytest.mark.parametrize("times", [[0, 10**9], [10**18, 0, 10**15], [5, 4, 3], [0, 10**9, 10**9 - 1, 2 * 10**11]])
def test_a_timeline_keeps_every_octet_in_a_bounded_number_of_slices(times: list[int]) -> None:
    line, connection = Timeline(), Connection(1, ("a:1", "b:2"))
    for number, time in enumerate(times):
        line.segment(connection, Segment(number + 1, time, 100 + number, 0, 24, 10, 0, 0))
    rows = line.series()
    assert sum(map(sum, rows.values())) == sum(100 + number for number in range(len(times)))
    assert max(map(len, rows.values())) <= SLICES
    assert line.first is not None
    assert line.first <= min(times)
    json.dumps(rows)
