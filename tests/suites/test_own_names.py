"""What the suites say on a broker bears names of their own: no two tests take over each other's client.

Read from the octets of a recording, because malformed packets are among them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mqproof.dissectors.mqtt.fields import read_varint
from scapy.layers.inet import IP, TCP
from scapy.utils import PcapNgReader

OWN = re.compile(rb"mqproof[0-9a-f]{6}.*x[0-9a-f]{4}")  # the run's prefix, the worker's, the name's number


@pytest.mark.whole_run
def test_every_client_id_of_the_connect_tests_is_the_tests_own(mqproof: Any, tmp_path: Path) -> None:
    done = mqproof("test", "embedded-mqtt", "-k", "test_3_1_connect", "--record", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "run.json").read_text())
    ids = [one for file in (tmp_path / "captures").glob("*.pcapng") for one in client_ids(file, port_of(run))]
    assert len(ids) > len(run["tests"])
    assert [one for one in ids if one and not OWN.match(one)] == []


def port_of(run: dict[str, Any]) -> int:
    return urlsplit(run["targets"][0]["url"]).port or 1883


def client_ids(file: Path, port: int) -> Iterator[bytes]:
    """Yield the client id of each connection that begins with a CONNECT, however malformed what follows."""
    met = set()
    with PcapNgReader(str(file)) as packets:
        for packet in packets:
            octets = bytes(packet[TCP].payload) if TCP in packet and packet[TCP].dport == port else b""
            connection = (packet[IP].src, packet[TCP].sport) if octets else None
            if connection and connection not in met:
                met.add(connection)
                if octets[0] == 0x10:
                    yield client_id(octets)


def client_id(octets: bytes) -> bytes:
    """Return the first field of a CONNECT's payload (section 3.1.3.1); nothing where there is none."""
    _, at = read_varint(octets, 1, len(octets)) or (0, 2)
    at += 2 + int.from_bytes(octets[at : at + 2])
    is_v5 = octets[at] == 5
    at += 4
    if is_v5:
        size, at = read_varint(octets, at, len(octets)) or (0, at)
        at += size
    return octets[at + 2 : at + 2 + int.from_bytes(octets[at : at + 2])]
