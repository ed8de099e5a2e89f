"""Records the captures that docs/overhead.md compares: the same messages over AMQP and MQTT, one after the other.

    python captures/overhead.py         record them anew, with the real brokers (see record.py for what that needs)
    python captures/overhead.py page    write docs/overhead.md and docs/overhead*.svg from them

Each message goes from one publisher through the broker to one consumer, on a topic (or routing key) of nine octets, and
the next one follows when the consumer has it. Nagle's algorithm is off everywhere. No properties, no headers, no TLS.
"""

import shutil
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from conversations import AMQP_OPENING, Expected
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.codec import Connect, Subscribe, Subscription
from mqproof.harness.recording.record import record as recording
from mqproof.harness.reporting.overhead_page import MESSAGES, SIZES, write_page
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.target import Target
from record import FOLDER, describe
from talking import Amqp, Mqtt

TOPIC = "sensors/a"
KEY = "sensors.a"
COUNT = len(SIZES) * MESSAGES


def over_mqtt(target: Target, qos: int) -> Expected:
    """Messages of all sizes at one QoS, MQTT 3.1.1."""
    subscriber, publisher = Mqtt(target, Connect("subscriber")), Mqtt(target, Connect("publisher"))
    subscriber.send(Subscribe(1, (Subscription(TOPIC, qos),)))
    subscriber.expect("Suback")
    number = 0
    for size in SIZES:
        for _ in range(MESSAGES):
            number += 1
            publisher.publish(TOPIC, bytes([number]) * size, qos, number)
            subscriber.take()
            settle(subscriber, publisher)
    subscriber.end()
    publisher.end()
    acknowledgements: dict[int, tuple[str, ...]] = {0: (), 1: ("PUBACK",), 2: ("PUBREC", "PUBREL", "PUBCOMP")}
    return {
        "kinds": {
            "CONNECT": 2, "CONNACK": 2, "SUBSCRIBE": 1, "SUBACK": 1, "PUBLISH": 2 * COUNT,
            **dict.fromkeys(acknowledgements[qos], 2 * COUNT), "DISCONNECT": 2,
        },
        "payload": 2 * MESSAGES * sum(SIZES),
        "connections": 2,
        "published": {f"qos{qos}": COUNT},
        "delivered": {f"qos{qos}": COUNT},
        "topics": {TOPIC: 2 * COUNT},
    }  # fmt: skip


def over_amqp(target: Target, *, acknowledged: bool) -> Expected:
    """Messages of all sizes through the default exchange, with confirms and consumer acknowledgements or without."""
    consumer, publisher = Amqp(target), Amqp(target)
    for each in (consumer, publisher):
        each.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    consumer.call("queue.declare", queue=KEY, exclusive=True)
    consumer.call("basic.consume", queue=KEY, consumer_tag="c", no_ack=not acknowledged)
    if acknowledged:
        publisher.call("confirm.select")
    number = 0
    for size in SIZES:
        for _ in range(MESSAGES):
            number += 1
            publisher.send(*amqp.content("basic.publish", body=bytes([number]) * size, exchange="", routing_key=KEY))
            if acknowledged:
                publisher.expect("basic.ack")
            tag = consumer.take(body=size > 0)
            if acknowledged:
                consumer.send(amqp.method("basic.ack", delivery_tag=tag))
            settle(consumer, publisher)
    consumer.end()
    publisher.end()
    kinds: dict[str, int] = {name: 2 * count for name, count in AMQP_OPENING.items()}
    kinds |= {"queue.declare": 1, "queue.declare-ok": 1, "basic.consume": 1, "basic.consume-ok": 1}
    kinds |= {"basic.publish": COUNT, "basic.deliver": COUNT, "header": 2 * COUNT}
    kinds["body"] = 2 * MESSAGES * sum(size > 0 for size in SIZES)
    if acknowledged:
        kinds |= {"basic.ack": 2 * COUNT, "confirm.select": 1, "confirm.select-ok": 1}
    return {
        "kinds": kinds, "payload": 2 * MESSAGES * sum(SIZES), "connections": 2,
        "published": {"all": COUNT}, "delivered": {"all": COUNT}, "routing_keys": {f"/{KEY}": 2 * COUNT},
    }  # fmt: skip


def settle(*talks: Any) -> None:
    """Wait until TCP has acknowledged all, which may take 40 ms: no two messages share an acknowledgement then."""
    for talk in talks:
        talk.socket.settimeout(0.06)
        try:
            octets = talk.socket.recv(1)
        except TimeoutError:
            octets = b""
        assert not octets, "something came that nobody waits for"
        talk.socket.settimeout(10.0)


def record() -> None:
    """Record all five."""
    with DRIVERS["mosquitto"].start() as broker:
        for qos in range(3):
            says = f"One message after the other at QoS {qos}, of the sizes {SIZES}."
            _record(f"mqtt-overhead-qos{qos}", broker.target("mqtt"), partial(over_mqtt, qos=qos), says)
    with DRIVERS["rabbitmq"].start() as broker:
        says = f"One message after the other, of the sizes {SIZES}, with confirms and acknowledgements."
        _record("amqp-overhead", broker.target("amqp"), partial(over_amqp, acknowledged=True), says)
        says = f"One message after the other, of the sizes {SIZES}, without confirms and with no-ack."
        _record("amqp-overhead-no-ack", broker.target("amqp"), partial(over_amqp, acknowledged=False), says)


def _record(name: str, target: Target, talk: "partial[Expected]", says: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with recording([target], Path(folder), kind="dumpcap") as made:
            expected = talk(target)
        path = FOLDER / f"{name}.pcapng"
        shutil.copyfile(made.files[0], path)
    path.chmod(0o644)
    describe(name, f"{says} With {target.product} {target.version}, dumpcap on loopback.", expected)


if __name__ == "__main__":
    if sys.argv[1:] == ["page"]:
        write_page(Path(__file__).parent, Path(__file__).parent.parent / "docs")
    elif sys.argv[1:]:
        raise SystemExit("python captures/overhead.py records anew, python captures/overhead.py page makes the page")
    else:
        record()
