"""The message view: each message followed across its packets."""

import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.packets import Pingreq, Puback, Pubcomp, Publish, Pubrec, Pubrel
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import analyze
from mqproof.dissectors.overhead.frames import Connection, Watcher, kind_of
from mqproof.dissectors.overhead.streams import HEAD, Seen
from mqproof.dissectors.overhead.views import clients, look
from mqproof.dissectors.packets.craft import BROKER, CLIENT
from mqproof.dissectors.packets.pcap import Packet, read_packets

CAPTURES = Path(__file__).parents[3] / "captures"
GOLDEN = sorted(CAPTURES.glob("*.pcapng"))
MS = 1_000_000


class Kinds(Watcher):
    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.octets: Counter[str] = Counter()
        self.headers = 0.0

    def frame(self, connection: Connection, side: int, seen: Seen) -> None:
        self.count[kind_of(connection, seen)] += 1
        self.octets[kind_of(connection, seen)] += seen.size
        self.headers += seen.header_share


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_slow_reading_sees_the_frames_that_the_walk_counts(path: Path) -> None:
    seen = Kinds()
    look([(path.name, read_packets(path))], [seen])
    kinds = {name: row for rows in as_json(analyze(str(path)))["kinds"].values() for name, row in rows.items()}
    assert seen.count == {name: row["count"] for name, row in kinds.items()}
    assert seen.octets == {name: row["bytes"] for name, row in kinds.items()}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_messages_of_the_golden_captures_are_followed_to_the_end(path: Path) -> None:
    expected = tomllib.loads(path.with_suffix(".toml").read_text())
    sides = clients([(path.name, read_packets(path))])
    groups = look([(path.name, read_packets(path))], sides=sides).messages["groups"]
    if not any(as_json(analyze(str(path)))["kinds"].values()):  # encrypted, and nobody gave the keys
        assert groups == {}
        return
    for direction in ("published", "delivered"):
        counts = expected.get(direction, {})
        wanted = {f"mqtt {qos}" if qos != "all" else "amqp": count for qos, count in counts.items()}
        assert {name: row[direction] for name, row in groups.items() if row[direction]} == wanted
    assert sum(row["payload"] for row in groups.values()) == expected["payload"]
    for name, row in groups.items():
        open_ends = [row["publishes"]["open_at_the_end"], row["publishes"]["broken_off"]]
        open_ends += [row["handshakes"]["open_at_the_end"], row["handshakes"]["broken_off"]]
        assert open_ends == [0, 0, 0, 0], name
        matched = row["matching"]
        assert matched["matched_by_content"] + matched["matched_by_order"] == row["delivered"]


def test_cost_of_a_message_is_its_frames_its_packets_headers_and_the_bare_acks(scene: Any) -> None:
    talk = scene.talk().connect()
    talk.mqtt(CLIENT, Publish("a/b", b"12345", 1, packet_id=1))  # 54 of headers + 2 + 2 + 3 + 2 + 5
    talk.bare_ack(BROKER)  # 54
    talk.mqtt(BROKER, Puback(1))  # 54 + 4
    talk.bare_ack(CLIENT)  # 54
    views = scene.look()
    row = views.messages["groups"]["mqtt qos1"]
    assert row["bytes"] == 54 * 4 + 14 + 4
    assert row["packets_per_hop"] == 4
    assert row["publishes"]["acknowledged"] == 1
    assert views.messages["costliest"][0] | {"bytes": 234.0, "packets": 2, "frames": 2, "packet": 6} == (
        views.messages["costliest"][0]
    )


def test_a_packets_headers_are_divided_among_the_messages_in_it(scene: Any) -> None:
    talk = scene.talk().connect()
    talk.mqtt(CLIENT, *(Publish("t", bytes([number])) for number in range(9)), Publish("t", bytes(54)))
    views = scene.look()
    row = views.messages["groups"]["mqtt qos0"]
    frames = 9 * 6 + 2 + 3 + 54
    assert row["bytes"] == 54 + frames
    assert row["packets_per_hop"] == 0.1
    assert views.messages["costliest"][0]["bytes"] == round(59 + 54 * 59 / frames, 1)


def test_latency_counts_from_last_octet_to_last_octet(scene: Any) -> None:
    talk = scene.talk().connect()
    talk.mqtt(CLIENT, Publish("a", bytes(4000), 1, packet_id=1))
    talk.wait(30 * MS)
    talk.mqtt(BROKER, Puback(1))
    assert scene.group("mqtt qos1")["latency"]["publish_to_acknowledgement"] == {
        "count": 1, "min_ms": 30.0, "p50_ms": 30.0, "p95_ms": 30.0, "max_ms": 30.0,
    }  # fmt: skip


def qos2(talk: Any, number: int, payload: bytes = b"x", *, upto: int = 4) -> None:
    steps = [
        (CLIENT, Publish("t", payload, 2, packet_id=number)), (BROKER, Pubrec(number)), (CLIENT, Pubrel(number)),
        (BROKER, Pubcomp(number)),
    ]  # fmt: skip
    for side, packet in steps[:upto]:
        talk.mqtt(side, packet)


def test_handshakes_completed_open_and_broken_off(scene: Any) -> None:
    talk = scene.talk().connect()
    qos2(talk, 1)
    qos2(talk, 2, b"two", upto=2)
    talk.close()
    other = scene.talk(40001).connect("other")
    qos2(other, 1, b"three", upto=3)
    shakes = scene.group("mqtt qos2")["handshakes"]
    assert shakes == {"completed": 1, "repeated": 0, "broken_off": 1, "resumed": 0, "open_at_the_end": 1}
    assert scene.findings() == ["unconfirmed-publish"]


def test_a_handshake_is_resumed_on_the_clients_next_connection(scene: Any) -> None:
    talk = scene.talk().connect()
    qos2(talk, 2, upto=2)
    talk.close()
    again = scene.talk(40001).connect(present=True)
    again.mqtt(CLIENT, Pubrel(2))
    again.mqtt(CLIENT, Pubrel(2))
    again.mqtt(BROKER, Pubcomp(2))
    row = scene.group("mqtt qos2")
    assert row["handshakes"] == {"completed": 1, "repeated": 1, "broken_off": 0, "resumed": 1, "open_at_the_end": 0}
    assert row["published"] == 1


def test_a_publish_sent_again_is_the_same_message(scene: Any) -> None:
    talk = scene.talk().connect()
    talk.mqtt(CLIENT, Publish("t", b"x", 1, packet_id=5))
    talk.close()
    again = scene.talk(40001).connect(present=True)
    again.mqtt(CLIENT, Publish("t", b"x", 1, dup=True, packet_id=5))
    again.mqtt(BROKER, Puback(5))
    row = scene.group("mqtt qos1")
    assert (row["published"], row["handshakes"]["repeated"], row["publishes"]["acknowledged"]) == (1, 1, 1)
    assert scene.findings() == ["unconfirmed-publish"]


def test_deliveries_are_matched_by_content_by_order_or_not_at_all(scene: Any) -> None:
    publisher, subscriber = scene.talk().connect(), scene.talk(40001).connect("sub")
    publisher.mqtt(CLIENT, Publish("t", b"same"))
    publisher.mqtt(CLIENT, Publish("t", b"same"))
    publisher.mqtt(CLIENT, Publish("t", b"once"))
    for payload in (b"same", b"same", b"same", b"once", b"elsewhere"):
        subscriber.mqtt(BROKER, Publish("t", payload))
    subscriber.mqtt(BROKER, Publish("t", b"old", retain=True))
    assert scene.group("mqtt qos0")["matching"] == {
        "matched_by_content": 1, "matched_by_order": 2, "copies_beyond_published": 1, "retained": 1, "unmatched": 1,
    }  # fmt: skip


def test_every_subscriber_gets_its_copy_and_the_message_pays_for_all(scene: Any) -> None:
    talks = [scene.talk(40000 + number).connect(f"c{number}") for number in range(4)]
    talks[0].mqtt(CLIENT, Publish("t", b"x"))
    for talk in talks[1:]:
        talk.mqtt(BROKER, Publish("t", b"x"))
    views = scene.look()
    assert views.messages["groups"]["mqtt qos0"]["matching"]["matched_by_content"] == 3
    dearest = views.messages["costliest"][0]
    assert (dearest["deliveries"], dearest["bytes"], dearest["end_to_end_ms"]) == (3, 4 * 60.0, 3.0)


def test_topic_aliases_are_followed(scene: Any) -> None:
    talk = scene.talk(version=Version.V5_0).connect()
    talk.mqtt(CLIENT, Publish("long/topic", b"1", properties=(("topic_alias", 3),)))
    talk.mqtt(CLIENT, Publish("", b"2", properties=(("topic_alias", 3),)))
    talk.mqtt(CLIENT, Publish("", b"3", properties=(("topic_alias", 4),)))
    views = scene.look()
    names = sorted(row["name"] for row in views.messages["costliest"])
    assert names == ["(topic alias that was set before the capture)", "long/topic", "long/topic"]
    assert views.messages["groups"]["mqtt qos0"]["direction_unknown"] == 1


def publish(talk: Any, body: bytes = b"body", **properties: Any) -> None:
    talk.amqp(CLIENT, *amqp.content("basic.publish", body=body, properties=properties, exchange="e", routing_key="k"))


def deliver(talk: Any, tag: int, body: bytes = b"body", consumer: str = "c", *, again: bool = False) -> None:
    arguments = {"consumer_tag": consumer, "exchange": "e", "routing_key": "k", "redelivered": again}
    talk.amqp(BROKER, *amqp.content("basic.deliver", body=body, delivery_tag=tag, **arguments))


def test_one_confirm_for_several_publishes_is_divided_among_them(scene: Any) -> None:
    talk = scene.talk().open_channel()
    for number in range(4):
        publish(talk, bytes([number]))
    talk.amqp(BROKER, amqp.method("basic.ack", delivery_tag=3, multiple=True))
    talk.amqp(BROKER, amqp.method("basic.nack", delivery_tag=4))
    views = scene.look()
    row = views.messages["groups"]["amqp"]
    assert (row["published"], row["publishes"]["acknowledged"], row["publishes"]["refused"]) == (4, 3, 1)
    third = (21 + 54) / 3
    costs = sorted({message["bytes"] for message in views.messages["costliest"]})
    frames = sum(len(amqp.encode(f)) for f in amqp.content("basic.publish", body=b"x", exchange="e", routing_key="k"))
    assert costs == [54 + frames + third, 54 + frames + 21 + 54]


def test_deliveries_their_acknowledgements_and_redeliveries(scene: Any) -> None:
    talk = scene.talk().open_channel(confirm=False)
    talk.amqp(CLIENT, amqp.method("basic.consume", queue="q", consumer_tag="c"))
    publish(talk)
    deliver(talk, 1)
    talk.amqp(CLIENT, amqp.method("basic.nack", delivery_tag=1, requeue=True))
    deliver(talk, 2, again=True)
    talk.amqp(CLIENT, amqp.method("basic.ack", delivery_tag=2))
    deliver(talk, 3, b"other")
    row = scene.group("amqp")
    assert row["publishes"]["no_acknowledgement_wanted"] == 1
    assert row["deliveries"] == {
        "acknowledged": 1, "refused": 1, "requeued": 1, "no_acknowledgement_wanted": 0, "broken_off": 0,
        "open_at_the_end": 1, "redelivered": 1,
    }  # fmt: skip
    assert (row["matching"]["matched_by_content"], row["matching"]["unmatched"]) == (2, 1)


def test_consumers_of_one_queue_share_its_messages(scene: Any) -> None:
    """Two consumers: the second message goes to the second one, and is not taken for the first message."""
    talk = scene.talk().open_channel(confirm=False)
    for consumer in ("c", "d"):
        talk.amqp(CLIENT, amqp.method("basic.consume", queue="q", consumer_tag=consumer, no_ack=True))
    publish(talk)
    talk.wait(100 * MS)
    publish(talk)
    deliver(talk, 1, consumer="c")
    deliver(talk, 2, consumer="d")
    row = scene.group("amqp")
    assert row["matching"]["matched_by_order"] == 2
    assert row["latency"]["publish_to_delivery_by_order"]["max_ms"] == 101.0
    assert row["deliveries"]["no_acknowledgement_wanted"] == 2


def test_confirms_are_not_matched_where_the_channel_began_before_the_capture(scene: Any) -> None:
    talk = scene.talk().open_channel()
    publish(talk)
    talk.amqp(BROKER, amqp.method("basic.ack", delivery_tag=1))
    scene.packets[:7] = []  # the handshake, the opening and confirm.select
    publishes = scene.group("amqp")["publishes"]
    assert (publishes["not_known"], publishes["acknowledged"], publishes["open_at_the_end"]) == (1, 0, 0)


@pytest.mark.parametrize("cut", [0, 1, 700, 1459])
def test_large_messages_are_matched_without_being_kept(scene: Any, cut: int) -> None:
    """Larger than what is kept of a frame; the subscriber's packets are cut elsewhere than the publisher's."""
    payload = bytes(range(256)) * (HEAD // 256 + 10)
    publisher, subscriber = scene.talk().connect(), scene.talk(40001).connect("sub")
    publisher.mqtt(CLIENT, Publish("t", payload))
    if cut:
        subscriber.raw(BROKER, b"\x30\x04\0\1tx" * (cut // 6))
    subscriber.mqtt(BROKER, Publish("t", payload))
    row = scene.group("mqtt qos0")
    assert row["matching"]["matched_by_content"] == 1
    assert row["payload"] == 2 * len(payload) + cut // 6


def test_bodies_in_frames_of_other_sizes_are_the_same_message(scene: Any) -> None:
    body = bytes(range(256)) * 100
    talk = scene.talk().open_channel(confirm=False)
    talk.amqp(CLIENT, *amqp.content("basic.publish", body=body, frame_max=4096, exchange="e", routing_key="k"))
    deliver(talk, 1, body)
    assert scene.group("amqp")["matching"]["matched_by_content"] == 1


def test_who_is_client_of_a_connection_from_before_the_capture_may_be_told_later(scene: Any) -> None:
    talk = scene.talk().connect()
    talk.mqtt(CLIENT, Publish("t", b"x", 1, packet_id=1))
    talk.mqtt(BROKER, Puback(1))
    scene.packets[:5] = []
    assert scene.group("mqtt qos1")["direction_unknown"] == 1
    talk.mqtt(CLIENT, Pingreq())
    sides = clients([("x", scene.packets)])
    row = look([("x", scene.packets)], sides=sides).messages["groups"]["mqtt qos1"]
    assert (row["published"], row["publishes"]["acknowledged"], row["direction_unknown"]) == (1, 1, 0)


def test_lost_segments_cost_the_messages_in_them_and_no_others(scene: Any) -> None:
    talk = scene.talk().connect()
    for number in range(30):
        talk.mqtt(CLIENT, Publish("t", bytes([number]) * 100))
    del scene.packets[10]
    for _ in range(12):
        talk.bare_ack(BROKER)
    assert scene.group("mqtt qos0")["published"] == 29


def test_shares_add_up_to_the_captured_octets(scene: Any) -> None:
    """What frames and their shares of headers come to is all that was captured of the packets with data."""
    for name in ("amqp-messages", "mqtt-5.0", "mqtt-straddled"):
        seen = Kinds()
        packets = list(read_packets(CAPTURES / f"{name}.pcapng"))
        look([(name, packets)], [seen])
        with_data = [packet for packet in packets if has_data(packet)]
        assert round(seen.headers + sum(seen.octets.values())) == sum(len(packet.data) for packet in with_data)


def has_data(packet: Packet) -> bool:
    at = 14 + 20
    return len(packet.data) > at + (packet.data[at + 12] >> 4) * 4


def test_the_result_is_json(scene: Any) -> None:
    scene.talk().connect()
    json.dumps(scene.look().messages)
