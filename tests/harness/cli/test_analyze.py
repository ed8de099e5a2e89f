"""The command ``mqproof analyze``."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from mqproof.dissectors.packets.craft import CLIENT, Conversation
from mqproof.dissectors.packets.pcap import MADE_UP_COMMENT, Packet, write_packets

Mqproof = Callable[..., subprocess.CompletedProcess[str]]
CONNECT = b"\x10\x0e\0\4MQTT\4\2\0\x3c\0\2me"


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    talk = Conversation()
    packets = [*talk.open(), *talk.say(CLIENT, CONNECT), *talk.say(CLIENT, b"\x30\x06\0\3a/bx" * 50)]
    path = tmp_path / "small.pcapng"
    write_packets(path, [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    return path


def test_json_follows_the_contract(mqproof: Mqproof, capture: Path) -> None:
    done = mqproof("analyze", capture, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    account = json.loads(done.stdout)
    assert account["kinds"]["mqtt"]["PUBLISH"] == {
        "count": 50, "bytes": 400, "payload": 50, "from_client": 50, "from_broker": 0,
    }  # fmt: skip
    assert account["kinds"]["amqp"] == {}
    octets = account["bytes"]
    assert octets["captured"] == sum(octets["by_layer"].values()) == sum(octets["by_purpose"].values())
    assert octets["captured"] + octets["file_framing"] == capture.stat().st_size
    assert {"schema", "files", "packets", "messages", "tcp", "findings"} <= account.keys()


def test_tables_fit_80_columns(mqproof: Mqproof, capture: Path) -> None:
    done = mqproof("analyze", capture, capture)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "PUBLISH" in done.stdout
    assert "100" in done.stdout


@pytest.mark.parametrize(
    ("octets", "complaint"),
    [(None, "No such file"), (b"", "is empty"), (b"hello, world", "is no pcap or pcapng file")],
)
def test_what_is_no_capture_gets_one_line_and_exit_code_2(
    mqproof: Mqproof, tmp_path: Path, octets: bytes | None, complaint: str
) -> None:
    if octets is not None:
        (tmp_path / "x").write_bytes(octets)
    done = mqproof("analyze", tmp_path / "x")
    assert done.returncode == 2
    assert done.stdout == ""
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_truncated_file_gives_what_is_there_and_says_where_it_stops(mqproof: Mqproof, capture: Path) -> None:
    size = capture.stat().st_size
    capture.write_bytes(capture.read_bytes()[: size - 100])
    done = mqproof("analyze", capture, "--json")
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout)
    stop = account["files"][0]["stopped_at"]
    assert account["kinds"]["mqtt"]["CONNECT"]["count"] == 1
    assert f"stops at byte {stop}" in done.stderr
    assert 0 < stop < size - 100


def test_made_up_headers_are_said_to_be_so(mqproof: Mqproof, tmp_path: Path) -> None:
    talk = Conversation()
    packets = [*talk.open(), *talk.say(CLIENT, CONNECT)]
    path = tmp_path / "tap.pcapng"
    write_packets(path, [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1, comment=MADE_UP_COMMENT)
    done = mqproof("analyze", path)
    assert "made up" in done.stdout
    assert "not known" in done.stdout
    account = json.loads(mqproof("analyze", path, "--json").stdout)
    assert account["bytes"]["captured"] == len(CONNECT)


def test_terminal_escapes_of_a_capture_are_not_passed_on(mqproof: Mqproof, tmp_path: Path) -> None:
    talk = Conversation()
    publish = b"\x30\x0a\0\x07\x1b[31m[ax"
    packets = [*talk.open(), *talk.say(CLIENT, CONNECT), *talk.say(CLIENT, publish)]
    path = tmp_path / "evil.pcapng"
    write_packets(path, [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    done = mqproof("analyze", path)
    assert "\\x1b[31m[a" in done.stdout
    assert "\x1b" not in done.stdout
