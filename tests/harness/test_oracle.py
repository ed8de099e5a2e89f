"""Golden captures: what was sent is what the account holds, and tshark agrees where it is right."""

import subprocess
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.codec import Decoder, decode
from mqproof.dissectors.mqtt.packets import Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.overhead.frames import Connection, kind_of
from mqproof.dissectors.overhead.streams import Seen, Speech
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.craft import Conversation, fragments
from mqproof.dissectors.packets.pcap import Packet, write_packets
from mqproof.harness import decryption, oracle

FOLDER = Path(__file__).parents[2] / "captures"
ENCRYPTED, LATE = ("mqtt-tls", "amqp-tls"), ("mqtt-mid-connection", "amqp-mid-connection")
WEBSOCKET = {"mqtt-websocket": 2, "amqp-websocket": 1}  # connections
CAPTURES = sorted(path for path in FOLDER.glob("*.pcapng") if path.stem not in ENCRYPTED)
WRONG_TSHARK = {"mqtt-straddled", *WEBSOCKET}  # remaining lengths across segments; WebSocket frames shown as data
SPEECH = {"mqtt": Speech(w.PLAIN_MQTT), "amqp": Speech(w.PLAIN_AMQP)}
needs_tshark = pytest.mark.skipif(not oracle.available(), reason="tshark is not installed")


@pytest.fixture(params=CAPTURES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    path: Path = request.param
    return path, tomllib.loads(path.with_suffix(".toml").read_text()), as_json(analyze(str(path)))


def counts(account: dict[str, Any]) -> oracle.Counts:
    return {name: {kind: row["count"] for kind, row in rows.items()} for name, rows in account["kinds"].items()}


def protocol_of(path: Path) -> str:
    return path.stem.partition("-")[0]


def test_golden_captures_exist() -> None:
    assert len(CAPTURES) >= 12


def test_a_golden_capture_gives_the_account_that_was_worked_out(
    golden: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    path, expected, account = golden
    protocol = protocol_of(path)
    assert account["packets"] == expected["file"]["packets"]
    assert account["bytes"]["captured"] == expected["file"]["captured"]
    assert counts(account)[protocol] == expected["kinds"]
    assert counts(account)["amqp" if protocol == "mqtt" else "mqtt"] == {}
    assert account["bytes"]["by_layer"]["payload"] == expected["payload"]
    assert account["tcp"]["connections"] == expected["connections"]
    for side in ("published", "delivered") if path.stem != LATE[0] else ():
        found = {name: row[side] for name, row in account["messages"][protocol].items() if row[side]}
        found.pop("all" if protocol == "mqtt" else "", None)
        assert found == expected.get(side, {})
    topics = {row["topic"]: row["published"] + row["delivered"] for row in account["topics"]["top"]}
    assert topics == expected.get("topics", {})
    keys = {
        f"{row['exchange']}/{row['routing_key']}": row["published"] + row["delivered"]
        for row in account["routing_keys"]["top"]
    }
    if "routing_keys" in expected:
        assert keys == expected["routing_keys"]


def test_nothing_of_a_golden_capture_is_undecoded(golden: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    path, _, account = golden
    layers = account["bytes"]["by_layer"]
    assert layers["undecoded"] == layers["other"] == 0
    streams = account["streams"]
    assert streams.pop("websocket_connections") == WEBSOCKET.get(path.stem, 0)
    if path.stem in LATE:
        assert (streams.pop("mid_stream"), streams.pop("resyncs")) == (4, 2)
    assert not any(streams.values())
    assert account["tcp"]["gaps"] == 0


@needs_tshark
def test_tshark_agrees_where_it_is_right(golden: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    path, expected, account = golden
    opened = {int(row["broker"].rpartition(":")[2]) for row in account["connections"]["top"]}
    assert path.stem in LATE or oracle.server_ports(path) == opened
    ports = dict.fromkeys(opened, protocol_of(path))
    theirs = oracle.counts(path, ports)
    if path.stem in WRONG_TSHARK:
        said = {"mqtt": "PUBLISH", "amqp": "basic.publish"}[protocol_of(path)]
        assert theirs[protocol_of(path)].get(said, 0) < expected["kinds"][said]
        return
    ours = counts(account)
    for protocol in ("mqtt", "amqp"):
        counted = {kind: count for kind, count in ours[protocol].items() if kind not in oracle.NOT_COUNTED}
        assert theirs[protocol] == counted


def test_the_port_of_a_connection_whose_syn_came_in_fragments(tmp_path: Path) -> None:
    syn = fragments(Conversation(("10.0.0.1", 40000), ("10.0.0.2", 18831)).open()[0], 7, 8)
    assert len(syn) == 3
    write_packets(tmp_path / "syn", [Packet(i, data, len(data), 1) for i, data in enumerate(syn)], 1)
    assert oracle.server_ports(tmp_path / "syn") == {18831}


@needs_tshark
@pytest.mark.parametrize("name", ["mqtt-3.1.1", "mqtt-5.0"])
def test_single_packets_through_pyshark(name: str) -> None:
    path = next(path for path in CAPTURES if path.stem == name)
    seen = list(oracle.mqtt_packets(path, dict.fromkeys(oracle.server_ports(path), "mqtt")))
    messages = [packet for packet in seen if packet.type == "PUBLISH"]
    assert len(messages) == 30
    assert {packet.topic for packet in messages} == {"home/room0", "home/room1"}
    assert [packet.qos for packet in messages] == [0] * 10 + [1] * 10 + [2] * 10
    assert all((packet.packet_id is None) == (packet.qos == 0) for packet in messages)


def test_the_codec_reads_what_the_wire_held() -> None:
    """The captures' own octets, decoded by the codec: a message of each QoS as it was sent."""
    octets = next(path for path in CAPTURES if path.stem == "mqtt-3.1.1").read_bytes()
    at = octets.index(b"\x34\x18\0\x0ahome/room")
    found = decode(octets, at, version=Version.V3_1_1)
    assert found is not None
    packet = found[0]
    assert isinstance(packet, Publish)
    assert (packet.qos, packet.payload) == (2, b"0123456789")


def test_who_published_is_not_known_of_connections_from_before_the_capture() -> None:
    path = FOLDER / f"{LATE[0]}.pcapng"
    expected = tomllib.loads(path.with_suffix(".toml").read_text())
    [qos] = [row for name, row in as_json(analyze(str(path)))["messages"]["mqtt"].items() if name != "all"]
    assert qos["direction_unknown"] == expected["published"]["qos1"] + expected["delivered"]["qos1"]


@needs_tshark
@pytest.mark.parametrize("name", WEBSOCKET)
def test_tshark_unmasks_the_same_octets_from_websocket_frames(name: str) -> None:
    path = FOLDER / f"{name}.pcapng"
    expected = tomllib.loads(path.with_suffix(".toml").read_text())
    rules = [part for port in oracle.server_ports(path) for part in ("-d", f"tcp.port=={port},http")]
    command = ["tshark", "-n", "-r", str(path), *rules, "-Y", "websocket", "-T", "fields", "-e", "data.data"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: Counter[str] = Counter()
    for octets in map(bytes.fromhex, printed.replace(",", "\n").split()):
        decoder = Decoder(Version.V3_1_1) if name.startswith("mqtt") else amqp.Decoder()
        decoder.feed(octets)
        while (frame := decoder.next()) is not None:
            found[kind_of(Connection(1, ("", ""), speech=SPEECH[protocol_of(path)]), Seen(frame, 0, []))] += 1
    assert found == expected["kinds"]


@needs_tshark
@pytest.mark.parametrize("name", ENCRYPTED)
def test_with_the_key_log_what_was_encrypted_is_counted(name: str) -> None:
    path, protocol = FOLDER / f"{name}.pcapng", protocol_of(FOLDER / name)
    expected = tomllib.loads(path.with_suffix(".toml").read_text())
    summary = analyze(str(path))
    before = as_json(summary)
    assert before["kinds"] == {"mqtt": {}, "amqp": {}}
    assert before["bytes"]["captured"] == expected["file"]["captured"]
    assert before["tls"]["connections"] == expected["connections"]
    assert decryption.add(summary, str(path), path.with_suffix(".keys")) == expected["connections"]
    after = as_json(summary)
    assert counts(after)[protocol] == expected["kinds"]
    assert after["kinds"][protocol]["PUBLISH" if protocol == "mqtt" else "body"]["payload"] == expected["payload"]
    keys = {
        row.get("topic") or f"{row['exchange']}/{row['routing_key']}": row["published"] + row["delivered"]
        for table in ("topics", "routing_keys")
        for row in after[table]["top"]
    }
    assert keys == expected["topics" if protocol == "mqtt" else "routing_keys"]
    assert after["bytes"] == before["bytes"]
    assert {row["bytes_per_delivered"] for row in after["messages"][protocol].values()} == {None}


def test_what_sizes_suggest_of_what_is_encrypted() -> None:
    # Seen by their sizes: a PINGREQ and a PINGRESP each, 10 PUBACKs, 30 of QoS 2's. A guess: DISCONNECT and TLS's own
    # farewell have 2 octets, too. There and back goes only the keep-alive.
    inferred = as_json(analyze(str(FOLDER / "mqtt-tls.pcapng")))["tls"]["inferred"]
    assert inferred["mqtt_keep_alive"] == 8
    assert inferred["keep_alive_exchanges"] == 2
    assert inferred["mqtt_acknowledgement"] == 40
    # The consumer's 12 acknowledgements in records of their own; RabbitMQ confirms each message at once: 12 more.
    assert as_json(analyze(str(FOLDER / "amqp-tls.pcapng")))["tls"]["inferred"]["amqp_acknowledgement"] == 24
