"""Streams as captures really hold them: out of order, repeated, overlapping, with holes, without a beginning."""

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Connack, Connect, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation

Account = dict[str, Any]
Accounting = Callable[..., Account]
MESSAGES = 40


def publishes(count: int = MESSAGES, size: int = 100) -> bytes:
    return b"".join(mqtt.encode(Publish("a/b", bytes([i % 256]) * size), Version.V3_1_1) for i in range(count))


def opened(talk: Conversation) -> list[bytes]:
    return [
        *talk.open(),
        *talk.say(CLIENT, mqtt.encode(Connect("me"), Version.V3_1_1)),
        *talk.say(BROKER, mqtt.encode(Connack(False, 0), Version.V3_1_1)),
    ]


def published(account: Account) -> int:
    return int(account["kinds"]["mqtt"].get("PUBLISH", {"count": 0})["count"])


@pytest.mark.parametrize("seed", range(8))
def test_segments_out_of_order_are_put_in_order(account: Accounting, seed: int) -> None:
    talk = Conversation()
    opening, segments = opened(talk), talk.say(CLIENT, publishes(), size=170)
    random.Random(seed).shuffle(segments)
    result = account([*opening, *segments])
    assert published(result) == MESSAGES
    assert result["tcp"]["out_of_order"] > 0
    assert result["tcp"]["gaps"] == result["tcp"]["retransmitted"] == 0


def test_repeated_segments_are_counted_once_and_booked_as_retransmission(account: Accounting) -> None:
    talk = Conversation()
    opening, segments = opened(talk), talk.say(CLIENT, publishes(), size=170)
    result = account([*opening, *segments, *segments[3:7]])
    assert published(result) == MESSAGES
    assert result["tcp"]["retransmitted"] == 4
    assert result["tcp"]["retransmitted_bytes"] == result["bytes"]["by_layer"]["repeated"] == 4 * 170
    assert result["bytes"]["by_purpose"]["retransmission"] == 4 * (170 + 54)


@pytest.mark.parametrize("early", [False, True])
def test_overlapping_segments_bring_only_what_is_new(account: Accounting, early: bool) -> None:
    stream = publishes()
    talk = Conversation()
    packets = opened(talk)
    start = talk.sequence[CLIENT]
    for at in range(0, len(stream), 200):
        low = max(0, at - 150)
        talk.sequence[CLIENT] = start + low
        packets += talk.say(CLIENT, stream[low : at + 200])
    if early:
        packets[6], packets[7] = packets[7], packets[6]
    result = account(packets)
    assert published(result) == MESSAGES
    assert result["bytes"]["by_layer"]["repeated"] == sum(min(150, at) for at in range(0, len(stream), 200))


@pytest.mark.parametrize("first", [0xFFFFFFFF, 0xFFFFFFFF - 700, 0x7FFFFFFF])
def test_sequence_numbers_wrap_around(account: Accounting, first: int) -> None:
    talk = Conversation(first=(first, first))
    opening, segments = opened(talk), talk.say(CLIENT, publishes(), size=170)
    random.Random(1).shuffle(segments)
    assert published(account([*opening, *segments])) == MESSAGES


def test_a_hole_is_reported_and_the_frames_after_it_are_found(account: Accounting) -> None:
    talk = Conversation()
    opening, segments = opened(talk), talk.say(CLIENT, publishes(), size=214)  # two messages each
    result = account([*opening, *segments[:5], *segments[6:]])
    assert published(result) == MESSAGES - 2
    assert (result["tcp"]["gaps"], result["tcp"]["lost_bytes"]) == (1, 214)
    assert result["bytes"]["by_layer"]["undecoded"] == 0


def test_a_hole_inside_a_payload_costs_nothing_but_its_octets(account: Accounting) -> None:
    talk = Conversation()
    packets = opened(talk)
    segments = talk.say(CLIENT, publishes(3, 5000), size=1000)
    result = account([*packets, *segments[:2], *segments[3:]])
    assert published(result) == 3
    assert result["streams"]["damaged"] == 1
    assert result["tcp"]["lost_bytes"] == 1000


def test_an_acknowledged_hole_is_given_up_before_the_end(account: Accounting) -> None:
    """Otherwise a capture of hours would hold everything after the first lost packet until its end."""
    talk = Conversation()
    opening, segments = opened(talk), talk.say(CLIENT, publishes(400), size=107)
    packets = [*opening, *segments[:5]]
    for segment in segments[6:]:
        packets += [segment, *talk.acknowledge(BROKER)]
    result = account(packets)
    assert published(result) == 399
    assert result["tcp"]["reassembly_bound"] == 0
    assert result["bytes"]["by_purpose"]["bare_ack"] == 394 * 54


def test_memory_for_early_segments_is_bounded(account: Accounting) -> None:
    talk = Conversation()
    opening, segments = opened(talk), talk.say(CLIENT, publishes(3000), size=107)
    result = account([*opening, *segments[:5], *segments[6:]])
    assert published(result) == 2999
    assert result["tcp"]["reassembly_bound"] > 0
    assert result["tcp"]["gaps"] == 1


@pytest.mark.parametrize("protocol", ["mqtt", "amqp"])
@pytest.mark.parametrize("cut", [0, 1, 50, 300])
def test_a_connection_that_began_before_the_capture(account: Accounting, protocol: str, cut: int) -> None:
    talk = Conversation(broker=("10.0.0.2", 12345))
    message = amqp.content("basic.publish", channel=1, body=b"x" * 80, properties={}, exchange="", routing_key="a.b")
    stream = publishes() if protocol == "mqtt" else b"".join(map(amqp.encode, message)) * MESSAGES
    segments = talk.say(CLIENT, stream[cut:], size=1070)
    result = account(segments)
    kinds = result["kinds"][protocol]
    found = kinds["PUBLISH" if protocol == "mqtt" else "basic.publish"]["count"]
    lost = -(-cut // (len(stream) // MESSAGES))
    assert MESSAGES - lost - 10 <= found <= MESSAGES - lost
    if cut == 0:
        assert found == MESSAGES
    assert result["streams"]["mid_stream"] == 1


def test_packets_cut_by_the_snap_length(account: Accounting) -> None:
    """Headers only: the messages are still counted where their own headers are there."""
    talk = Conversation()
    packets = opened(talk)
    for i in range(20):
        packets += talk.say(CLIENT, mqtt.encode(Publish("a/b", bytes([i]) * 500), Version.V3_1_1))
    result = account(packets, cut=80)
    assert published(result) == 20
    assert result["tcp"]["cut_packets"] == 20
    assert result["bytes"]["wire"] > result["bytes"]["captured"]
    assert result["tcp"]["gaps"] == 0


def test_ports_that_are_used_again_are_a_new_connection(account: Accounting) -> None:
    packets = []
    for first in (1000, 90000):
        talk = Conversation(first=(first, first))
        packets += [*opened(talk), *talk.say(CLIENT, publishes(5)), *talk.close()]
    result = account(packets)
    assert published(result) == 10
    assert result["kinds"]["mqtt"]["CONNECT"]["count"] == 2
    assert result["tcp"]["connections"] == 2


def test_ports_that_are_used_again_while_segments_wait_behind_a_hole(account: Accounting) -> None:
    """The old connection's packets have shorter headers than the SYN: each must be booked with its own."""
    old, new = Conversation(), Conversation(first=(90000, 90000), options=bytes(12))
    opening, segments = opened(old), old.say(CLIENT, publishes(5), size=107)
    syn, *others = new.open()
    syn = syn[:16] + (len(syn) - 14 + 20).to_bytes(2) + syn[18:46] + b"\xa0" + syn[47:] + bytes(20)
    packets = [*opening, *segments[:2], *segments[3:], syn, *others]
    result = account(packets)
    assert result["bytes"]["captured"] == sum(map(len, packets))
    assert result["bytes"]["by_layer"]["tcp_options"] == 20 + 12
    assert (result["tcp"]["gaps"], published(result)) == (1, 4)


def test_more_connections_than_the_walk_begins_with(account: Accounting) -> None:
    packets = []
    for port in range(1000, 1700):
        talk = Conversation(("10.0.0.1", port))
        packets += [*opened(talk), *talk.say(CLIENT, publishes(1))]
    result = account(packets)
    assert published(result) == result["tcp"]["connections"] == 700


def test_malformed_octets_are_counted_and_the_stream_goes_on(account: Accounting) -> None:
    talk = Conversation()
    packets = [
        *opened(talk),
        *talk.say(CLIENT, publishes(2)),
        *talk.say(CLIENT, b"\xff\xff\xff\xff\xff"),
        *talk.say(CLIENT, publishes(3)),
    ]
    result = account(packets)
    assert published(result) == 5
    assert result["streams"]["malformed"] == 1
    assert result["bytes"]["by_layer"]["undecoded"] == 5


def test_an_amqp_frame_without_its_end_octet_is_malformed(account: Accounting) -> None:
    talk = Conversation()
    good = amqp.encode(amqp.method("queue.declare", 1, queue="q"))
    packets = [
        *talk.open(),
        *talk.say(CLIENT, b"AMQP\0\0\x09\x01"),
        *talk.say(CLIENT, good[:-1] + b"\0"),
        *talk.say(CLIENT, good),
    ]
    result = account(packets)
    assert result["kinds"]["amqp"]["queue.declare"]["count"] == 1
    assert result["streams"]["malformed"] == 1


def test_a_frame_that_claims_256_mb_does_not_claim_memory(account: Accounting) -> None:
    talk = Conversation()
    huge = struct.pack(">BHI", 3, 1, 1 << 28)
    packets = [*talk.open(), *talk.say(CLIENT, b"AMQP\0\0\x09\x01"), *talk.say(CLIENT, huge + bytes(1000))]
    result = account(packets)
    assert result["streams"]["incomplete"] == 1
    assert result["bytes"]["by_layer"]["payload"] == 1000


def test_amqp_frames_cut_by_the_snap_length_before_their_end_octet(account: Accounting) -> None:
    talk = Conversation()
    packets = [*talk.open(), *talk.say(CLIENT, b"AMQP\0\0\x09\x01")]
    for frame in amqp.content("basic.publish", body=b"x" * 500, exchange="", routing_key="a.b") * 20:
        packets += talk.say(CLIENT, amqp.encode(frame))
    result = account(packets, cut=80)
    found = {name: row["count"] for name, row in result["kinds"]["amqp"].items()}
    assert found == {"protocol-header": 1, "basic.publish": 20, "header": 20, "body": 20}
