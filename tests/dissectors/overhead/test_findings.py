"""Findings: each is seen where it is, and nowhere else."""

from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.packets import Pingreq, Puback, Publish
from mqproof.dissectors.overhead.findings import SAYS
from mqproof.dissectors.overhead.views import look
from mqproof.dissectors.packets.craft import BROKER, CLIENT
from mqproof.dissectors.packets.pcap import Packet, read_packets

CAPTURES = Path(__file__).parents[3] / "captures"
MS = 1_000_000
SECOND = 1000 * MS
# The senders of these captures write small messages one after the other without TCP_NODELAY: it is there to be seen.
STALLED = {"amqp-large-body", "amqp-messages", "amqp-swapped", "amqp-websocket"}


def further(*numbers: int) -> list[Any]:
    return [pytest.param(number, marks=pytest.mark.further_case) for number in numbers]


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcapng")), ids=lambda path: path.stem)
def test_nothing_is_said_of_the_golden_captures_but_what_is_there(path: Path) -> None:
    found = {finding["kind"] for finding in look([(path.name, read_packets(path))]).findings}
    assert found == ({"nagle-delayed-ack"} if path.stem in STALLED else set())


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcapng")), ids=lambda path: path.stem)
@pytest.mark.parametrize("start", [5, *further(9, 14, 23)])
def test_a_capture_that_begins_too_late_makes_nobody_guilty(path: Path, start: int) -> None:
    packets = list(read_packets(path))[start:]
    found = {finding["kind"] for finding in look([(path.name, packets)]).findings}
    assert found <= {"nagle-delayed-ack"}


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcapng")), ids=lambda path: path.stem)
@pytest.mark.parametrize("every", [3, *further(5, 7, 11)])
def test_a_capture_with_holes_makes_nobody_guilty(path: Path, every: int) -> None:
    packets = [packet for number, packet in enumerate(read_packets(path), 1) if number % every]
    found = {finding["kind"] for finding in look([(path.name, packets)]).findings}
    assert found <= {"nagle-delayed-ack"}


def only(scene: Any) -> dict[str, Any]:
    findings = scene.look().findings
    assert [set(finding) >= {"kind", "packets", "text", "means"} for finding in findings] == [True]
    assert findings[0]["kind"] in SAYS
    return dict(findings[0])


def test_dup_without_an_earlier_copy(scene: Any) -> None:
    talk = scene.talk().connect()
    talk.mqtt(CLIENT, Publish("t", b"x", 1, dup=True, packet_id=9))
    talk.mqtt(BROKER, Puback(9))
    finding = only(scene)
    assert (finding["kind"], finding["packets"]) == ("dup-without-earlier-copy", [6])
    assert "packet identifier 9" in finding["text"]


def test_dup_in_a_session_from_before_the_capture_is_no_finding(scene: Any) -> None:
    talk = scene.talk().connect(present=True)
    talk.mqtt(CLIENT, Publish("t", b"x", 1, dup=True, packet_id=9))
    talk.mqtt(BROKER, Puback(9))
    assert scene.findings() == []


def test_a_packet_identifier_used_again_too_early(scene: Any) -> None:
    talk = scene.talk().connect()
    talk.mqtt(CLIENT, Publish("t", b"x", 1, packet_id=3))
    talk.mqtt(CLIENT, Publish("t", b"y", 1, packet_id=3))
    talk.mqtt(BROKER, Puback(3))
    finding = only(scene)
    assert (finding["kind"], finding["packets"]) == ("packet-id-reused", [6, 7])


def test_a_packet_identifier_used_again_after_its_acknowledgement_is_no_finding(scene: Any) -> None:
    talk = scene.talk().connect()
    for payload in (b"x", b"y"):
        talk.mqtt(CLIENT, Publish("t", payload, 1, packet_id=3))
        talk.mqtt(BROKER, Puback(3))
    talk.mqtt(BROKER, Publish("u", b"z", 1, packet_id=3))  # the broker's identifiers are its own
    assert scene.findings() == []


@pytest.mark.parametrize("octets", [b"\x36\x05\0\1tab", b"\x30\x03\0\x09t", b"\xc1\0", b"\x62\1\0"])
def test_malformed_packets_name_packet_and_rule(scene: Any, octets: bytes) -> None:
    talk = scene.talk().connect()
    talk.raw(CLIENT, octets)
    finding = only(scene)
    assert (finding["kind"], finding["packets"]) == ("malformed", [6])
    assert "mqtt-3.1.1:" in finding["text"]


def test_a_malformed_amqp_frame(scene: Any) -> None:
    talk = scene.talk().open_channel()
    talk.raw(CLIENT, amqp.encode(amqp.RawFrame(1, 1, b"\0\x3c\0\x63")))
    finding = only(scene)
    assert finding["kind"] == "malformed"
    assert "unknown method 60.99" in finding["text"]


def test_a_client_that_is_silent_longer_than_its_keep_alive(scene: Any) -> None:
    talk = scene.talk().connect(keep_alive=10)
    talk.wait(14 * SECOND)
    talk.mqtt(CLIENT, Pingreq())
    assert scene.findings() == []
    talk.wait(15 * SECOND + 1)
    talk.mqtt(CLIENT, Pingreq())
    finding = only(scene)
    assert (finding["kind"], finding["packets"]) == ("keep-alive-missed", [6, 7])


def test_publishes_without_confirm_when_the_channel_closes(scene: Any) -> None:
    talk = scene.talk().open_channel()
    for body in (b"1", b"2"):
        talk.amqp(CLIENT, *amqp.content("basic.publish", body=body, exchange="e", routing_key="k"))
    talk.amqp(BROKER, amqp.method("basic.ack", delivery_tag=1))
    assert scene.findings() == []
    talk.amqp(BROKER, amqp.method("channel.close", reply_code=404))
    finding = only(scene)
    assert (finding["kind"], finding["packets"], finding["count"]) == ("unconfirmed-publish", [9], 1)


def test_many_tiny_segments_one_after_the_other(scene: Any) -> None:
    talk = scene.talk().connect()
    for _ in range(10):
        talk.mqtt(CLIENT, Publish("t", b"x"))
    assert scene.findings() == []
    talk.mqtt(CLIENT, Publish("t", b"x"))
    assert only(scene)["kind"] == "tiny-segments"


def test_data_held_back_until_a_delayed_acknowledgement(scene: Any) -> None:
    talk = scene.talk().connect()
    for _ in range(2):
        talk.mqtt(CLIENT, Publish("t", b"x"))
        talk.wait(40 * MS)
        talk.bare_ack(BROKER)
    talk.mqtt(CLIENT, Publish("t", b"x"))
    finding = only(scene)
    assert (finding["kind"], finding["count"], finding["packets"]) == ("nagle-delayed-ack", 2, [6, 8, 8, 10])
    assert "80 ms" in finding["text"]


def test_what_both_sides_do_is_two_findings(scene: Any) -> None:
    talk = scene.talk().connect()
    for side in (CLIENT, BROKER):
        for _ in range(2):
            talk.mqtt(side, Publish("t", b"x"))
            talk.wait(40 * MS)
            talk.bare_ack(1 - side)
        talk.mqtt(side, Publish("t", b"x"))
    findings = scene.look().findings
    assert [(finding["kind"], finding["count"]) for finding in findings] == [("nagle-delayed-ack", 2)] * 2
    assert [finding["text"].split()[0] for finding in findings] == ["10.0.0.1:40000", "10.0.0.2:1883"]


def test_a_slow_answer_is_no_stall(scene: Any) -> None:
    talk = scene.talk().connect()
    for number in range(1, 4):
        talk.mqtt(CLIENT, Publish("t", b"x", 1, packet_id=number))
        talk.wait(40 * MS)
        talk.bare_ack(BROKER)
        talk.mqtt(BROKER, Puback(number))
    assert scene.findings() == []


def test_packets_that_are_passed_over_keep_the_others_numbers(scene: Any) -> None:
    talk = scene.talk().connect()
    talk.mqtt(CLIENT, Publish("t", b"x", 1, dup=True, packet_id=9))
    packets: list[Packet | None] = [None, *scene.packets]
    assert look([("x", packets)]).findings[0]["packets"] == [7]
