"""Recording: complete from the first packet to the last, and without secrets."""

import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pika
import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Auth, Connect, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation, cooked2, ethernet, fragments
from mqproof.dissectors.packets.opening import Opener
from mqproof.dissectors.packets.pcap import MADE_UP_COMMENT, Packet, read_packets, write_packets
from mqproof.harness.recording import record
from mqproof.harness.recording.dumpcap import NotPermitted
from mqproof.harness.recording.masking import Stream, write_masked
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target
from paho.mqtt import client as paho

SECRET = "perfectly-private"
BROKER_ADDRESS = bytes((10, 0, 0, 2))


@pytest.fixture(params=["dumpcap", "tap"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "dumpcap" and os.geteuid() != 0:
        pytest.skip("capturing on loopback needs root here")
    return str(request.param)


def talk(target: Target, messages: int) -> None:
    """One MQTT conversation that begins and ends at once."""
    with socket.create_connection((target.host, target.port)) as wire:
        wire.sendall(mqtt.encode(Connect("c", user_name="u", password=SECRET.encode()), Version.V3_1_1))
        assert wire.recv(4)[0] == 0x20
        for number in range(messages):
            wire.sendall(b"\x30\x08\x00\x03a/b" + b"%03d" % number)
        wire.sendall(b"\xe0\x00")


@pytest.mark.parametrize("messages", [0, 200])
def test_a_recording_holds_the_first_packet_and_the_last(
    mosquitto: LocalBroker, kind: str, tmp_path: Path, messages: int
) -> None:
    target = mosquitto.target("mqtt")
    with record([target], tmp_path, kind=kind) as recording:  # type: ignore[arg-type]
        talk(next(iter(recording)), messages)
    account = as_json(analyze(str(recording.files[0])))
    counts = {name: row["count"] for name, row in account["kinds"]["mqtt"].items()}
    assert counts.get("PUBLISH", 0) == messages
    assert counts["CONNECT"] == counts["CONNACK"] == counts["DISCONNECT"] == 1
    assert account["streams"]["mid_stream"] == 0
    assert recording.dropped == 0


def test_passwords_are_nowhere_in_a_recording(
    mosquitto: LocalBroker, embedded: LocalBroker, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    targets = [mosquitto.target("mqtt"), embedded.target("amqp")]
    with record(targets, tmp_path / "out", kind=kind) as recording:  # type: ignore[arg-type]
        by_mqtt, by_amqp = recording
        for version in (paho.MQTTv311, paho.MQTTv5):
            client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=version)
            client.username_pw_set("user", SECRET)
            client.connect(by_mqtt.host, by_mqtt.port)
            client.disconnect()
        login = pika.PlainCredentials("user", SECRET)
        with pytest.raises(pika.exceptions.AMQPError):
            pika.BlockingConnection(pika.ConnectionParameters(by_amqp.host, by_amqp.port, credentials=login))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(recording.files)
    for path in files:
        assert SECRET.encode() not in path.read_bytes()
        assert b"*" * len(SECRET) in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_tap_says_that_its_headers_are_made_up(mosquitto: LocalBroker, tmp_path: Path) -> None:
    with record([mosquitto.target("mqtt")], tmp_path, kind="tap") as recording:
        talk(recording.targets[0], 3)
    account = as_json(analyze(str(recording.files[0])))
    assert account["files"][0]["comments"] == [MADE_UP_COMMENT]
    assert account["packets"] is None
    layers = account["bytes"]["by_layer"]
    assert [layers[name] for name in ("link", "ip", "tcp", "tcp_options")] == [None] * 4
    assert account["bytes"]["captured"] == sum(filter(None, layers.values()))
    assert account["messages"]["mqtt"]["qos0"]["packets_per_delivered"] is None


def test_without_permission_the_tap_records(
    mosquitto: LocalBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "dumpcap"
    refusing.write_text("#!/bin/sh\necho 'You do not have permission to capture on device \"lo\"' >&2\nexit 2\n")
    refusing.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with record([mosquitto.target("mqtt")], tmp_path / "out") as recording:
        talk(recording.targets[0], 3)
    assert recording.kind == "tap"
    assert "permission" in recording.why_tap
    assert as_json(analyze(str(recording.files[0])))["kinds"]["mqtt"]["PUBLISH"]["count"] == 3
    with pytest.raises(NotPermitted, match="permission"), record([], tmp_path / "out", kind="dumpcap"):
        pass


AMQPLAIN = b"\5LOGINS\0\0\0\2me\x08PASSWORDS\0\0\0\x11" + SECRET.encode()


def login(protocol: str) -> bytes:
    """A client's first octets, with every place where a secret may stand."""
    if protocol == "amqp":
        return b"AMQP\0\0\x09\x01" + b"".join(
            amqp.encode(amqp.method(name, 0, **arguments))
            for name, arguments in (
                ("connection.start-ok", {"mechanism": "PLAIN", "response": b"\0me\0" + SECRET.encode()}),
                ("connection.start-ok", {"mechanism": "EXTERNAL", "response": SECRET.encode()}),
                ("connection.start-ok", {"mechanism": "AMQPLAIN", "response": AMQPLAIN}),
                ("connection.secure-ok", {"response": SECRET.encode()}),
                ("connection.update-secret", {"new_secret": SECRET.encode(), "reason": "later"}),
            )
        )
    properties = (("authentication_method", "x"), ("authentication_data", SECRET.encode()))
    five = Connect("c", user_name="u", password=SECRET.encode(), properties=properties, version=Version.V5_0)
    return mqtt.encode(five, Version.V5_0) + mqtt.encode(Auth(0x18, properties), Version.V5_0)


@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
@pytest.mark.parametrize("size", [1, 7, 1460])
@pytest.mark.parametrize("order", ["in order", "backwards"])
def test_credentials_are_masked_at_decoded_offsets(protocol: str, size: int, order: str, tmp_path: Path) -> None:
    stream = Stream(protocol, 1883, frozenset({BROKER_ADDRESS}))
    talk = Conversation(frame=ethernet)
    opening = talk.open()
    segments = talk.say(CLIENT, login(protocol), size=size)
    if order == "backwards":
        segments = [*segments[::-1], *segments]  # each of them twice
    write(tmp_path / "raw", [*opening, *segments, *talk.close()], 1)
    write_masked(tmp_path / "raw", [(stream, tmp_path / "masked")], secrets=[])
    before, after = ([packet.data for packet in read_packets(tmp_path / name)] for name in ("raw", "masked"))
    assert [len(data) for data in before] == [len(data) for data in after]
    by_sequence = {data[38:42]: data[54:] for data in after[3:-3]}
    client = b"".join(by_sequence[key] for key in sorted(by_sequence))
    assert SECRET.encode() not in client
    assert client.count(b"*") == len(SECRET) * login(protocol).count(SECRET.encode())
    assert all(checksum_is_right(new) for old, new in zip(before, after, strict=True) if old != new)
    assert any(old != new for old, new in zip(before, after, strict=True))


def test_a_secret_in_a_broken_packet_is_masked_by_its_octets(tmp_path: Path) -> None:
    stream = Stream("mqtt", 1883, frozenset({BROKER_ADDRESS}))
    talk = Conversation(frame=cooked2)
    packets = [*talk.open(), *talk.say(CLIENT, b"\xff\xff" + SECRET.encode()), *talk.say(BROKER, SECRET.encode())]
    write(tmp_path / "raw", packets, 276)
    write_masked(tmp_path / "raw", [(stream, tmp_path / "masked")], [SECRET])
    assert SECRET.encode() not in (tmp_path / "masked").read_bytes()


HOSTS = {4: ("10.0.0.1", "10.0.0.2"), 6: ("2001:db8::1", "2001:db8::2")}


def scene(version: int, protocol: str, broker_port: int = 1883) -> tuple[Stream, Conversation]:
    client, broker = HOSTS[version]
    stream = Stream(protocol, 1883, frozenset({ipaddress.ip_address(broker).packed}))
    return stream, Conversation((client, 40000), (broker, broker_port))


def after_masking(tmp_path: Path, stream: Stream, packets: list[bytes]) -> tuple[list[bytes], int]:
    write(tmp_path / "raw", packets, 1)
    left_out = write_masked(tmp_path / "raw", [(stream, tmp_path / "masked")], secrets=[])
    return [packet.data for packet in read_packets(tmp_path / "masked")], left_out


def counted(path: Path) -> dict[str, Any]:
    account = as_json(analyze(str(path)))
    return {key: account[key] for key in ("packets", "kinds", "tcp", "streams")}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
@pytest.mark.parametrize("size", [16, 40, 64])
@pytest.mark.parametrize("order", [1, -1])
def test_credentials_in_fragments_are_masked(
    version: int, protocol: str, size: int, order: int, tmp_path: Path
) -> None:
    stream, talk = scene(version, protocol)
    opening = talk.open()
    pieces = fragments(*talk.say(CLIENT, login(protocol)), 7, size)
    packets = [*opening, *pieces[::order], pieces[0], *talk.close()]
    after, left_out = after_masking(tmp_path, stream, packets)
    assert left_out == 0
    assert [len(data) for data in after] == [len(data) for data in packets]
    assert counted(tmp_path / "masked") == counted(tmp_path / "raw")
    opener, start = Opener(), 14 + (20 if version == 4 else 40)
    for at, data in enumerate(after):
        opened = opener.open(Packet(at, data, len(data), 1))
        if opener.is_whole:
            assert opened is not None
            assert SECRET.encode() not in opened
            assert opened.count(b"*" * len(SECRET)) == login(protocol).count(SECRET.encode())
            link = bytes(14) + bytes(opened)
            assert checksum_is_right(link, start)
    assert opener.s[w.REASSEMBLED] == 1


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_fragments_of_which_others_are_missing_are_left_out(missing: int, tmp_path: Path) -> None:
    stream, talk = scene(4, "mqtt")
    pieces = fragments(*talk.say(CLIENT, login("mqtt")), 7, 40)
    del pieces[missing]
    after, left_out = after_masking(tmp_path, stream, [*pieces, *(end := talk.close())])
    assert (after, left_out) == (end, len(pieces))


def test_fragments_that_are_no_target_s_are_left_out_and_not_missed(tmp_path: Path) -> None:
    stream, talk = scene(4, "mqtt", broker_port=1884)
    pieces = fragments(*talk.say(CLIENT, login("mqtt")), 7, 40)
    ours = scene(4, "mqtt")[1].open()
    assert after_masking(tmp_path, stream, [*pieces, *ours]) == (ours, 0)


@pytest.mark.parametrize("protocol", ["amqp", "mqtt"])
@pytest.mark.parametrize("behind", [1, 300])
def test_credentials_behind_octets_that_the_capture_lacks_are_masked(
    protocol: str, behind: int, tmp_path: Path
) -> None:
    """A hole is either found at the end, or given up when too much has come behind it."""
    stream, talk = scene(4, protocol)
    if protocol == "amqp":
        harmless = amqp.encode(amqp.method("channel.open", 1))
        last = amqp.encode(amqp.method("connection.update-secret", 0, new_secret=SECRET.encode(), reason="later"))
    else:
        harmless = mqtt.encode(Publish("a/b", b"x" * 20), Version.V5_0) * 4
        properties = (("authentication_method", "x"), ("authentication_data", SECRET.encode()))
        last = mqtt.encode(Auth(0x18, properties), Version.V5_0)
    packets = [*talk.open(), *talk.say(CLIENT, login(protocol))]
    talk.say(CLIENT, harmless)  # the kernel dropped it
    for _ in range(behind):
        packets += talk.say(CLIENT, harmless)
    packets += [*talk.say(CLIENT, last), *talk.close()]
    after, _ = after_masking(tmp_path, stream, packets)
    assert not any(SECRET.encode() in data for data in after)


def test_a_password_is_masked_on_both_sides_of_a_hole_in_it(tmp_path: Path) -> None:
    stream, talk = scene(4, "mqtt")
    octets = mqtt.encode(Connect("c", user_name="u", password=b"abc" * 20), Version.V3_1_1)
    packets = [*talk.open(), *talk.say(CLIENT, octets, size=len(octets) - 40)]
    (held,) = talk.say(CLIENT, b"\xc0\0" * 4)
    last = packets.pop()
    packets += [last[:34] + (int.from_bytes(last[38:42]) + 20).to_bytes(4).join((last[34:38], last[42:54])) + last[74:]]
    after, _ = after_masking(tmp_path, stream, [*packets, held])
    assert not any(b"abc" in data for data in after)
    assert after[-1].endswith(b"\xc0\0" * 4)


def write(path: Path, packets: list[bytes], linktype: int) -> None:
    write_packets(path, [Packet(i, data, len(data), linktype) for i, data in enumerate(packets)], linktype)


def checksum_is_right(frame: bytes, start: int = 34) -> bool:
    """Ethernet and IP without options: the sum over pseudo header and segment is all ones."""
    segment = frame[start:]
    octets = frame[26:34] if start == 34 else frame[22:54]
    octets += b"\0\x06" + len(segment).to_bytes(2, "big") + segment
    octets += b"\0" * (len(octets) % 2)
    total = sum(int.from_bytes(octets[i : i + 2], "big") for i in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF
