"""What the golden captures hold: conversations with a broker, and what an analyzer must find of each.

What it must find follows from what is sent, and is written down here beside it, by hand.
"""

from collections.abc import Iterator
from typing import Any

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.codec import Connect, Puback, Publish, Subscribe, Subscription, Will
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.target import Target
from talking import Amqp, Mqtt

Expected = dict[str, Any]
AMQP_OPENING = {
    "protocol-header": 1, "connection.start": 1, "connection.start-ok": 1, "connection.tune": 1,
    "connection.tune-ok": 1, "connection.open": 1, "connection.open-ok": 1, "channel.open": 1, "channel.open-ok": 1,
    "channel.close": 1, "channel.close-ok": 1, "connection.close": 1, "connection.close-ok": 1,
}  # fmt: skip


def mqtt_all_qos(target: Target, version: Version, properties: Any = (), kind: type[Mqtt] = Mqtt) -> Expected:
    """Five messages at each QoS, 10 octets each, from one publisher to one subscriber; one PINGREQ each."""
    subscriber = kind(target, Connect("subscriber", version=version))
    subscriber.send(Subscribe(1, (Subscription("home/#", 2),)))
    subscriber.expect("Suback")
    publisher = kind(target, Connect("publisher", version=version))
    for number in range(15):
        publisher.publish(f"home/room{number % 2}", b"0123456789", number // 5, number + 1, properties)
        subscriber.take()
    subscriber.ping()
    publisher.ping()
    subscriber.end()
    publisher.end()
    return {
        "kinds": {
            "CONNECT": 2, "CONNACK": 2, "SUBSCRIBE": 1, "SUBACK": 1, "PUBLISH": 30, "PUBACK": 10, "PUBREC": 10,
            "PUBREL": 10, "PUBCOMP": 10, "PINGREQ": 2, "PINGRESP": 2, "DISCONNECT": 2,
        },
        "payload": 300,
        "connections": 2,
        "published": {"qos0": 5, "qos1": 5, "qos2": 5},
        "delivered": {"qos0": 5, "qos1": 5, "qos2": 5},
        "topics": {"home/room0": 16, "home/room1": 14},
    }  # fmt: skip


def mqtt_mid_connection(target: Target) -> Iterator[Expected]:
    """Both clients were connected, and the subscription made, before the capture began."""
    subscriber = Mqtt(target, Connect("subscriber"))
    subscriber.send(Subscribe(1, (Subscription("home/#", 1),)))
    subscriber.expect("Suback")
    publisher = Mqtt(target, Connect("publisher"))
    yield {}  # from here on it is captured
    for number in range(10):
        publisher.publish("home/room", b"0123456789", 1, number + 1)
        subscriber.take()
    subscriber.ping()
    publisher.ping()
    subscriber.end()
    publisher.end()
    yield {
        "kinds": {"PUBLISH": 20, "PUBACK": 20, "PINGREQ": 2, "PINGRESP": 2, "DISCONNECT": 2},
        "payload": 200, "connections": 2, "published": {"qos1": 10}, "delivered": {"qos1": 10},
        "topics": {"home/room": 20},
    }  # fmt: skip


def mqtt_straddled(target: Target) -> Expected:
    """Forty messages of 300 octets at QoS 0 in segments of 310: a remaining length falls across two of them."""
    publisher = Mqtt(target, Connect("publisher"))
    publisher.piece = 310  # a packet has 1 + 2 + 2 + 3 + 300 = 308 octets: 2 of the second are in the first segment
    publisher.send(*(Publish("a/b", b"x" * 300) for _ in range(40)))
    publisher.ping()
    publisher.end()
    return {
        "kinds": {"CONNECT": 1, "CONNACK": 1, "PUBLISH": 40, "PINGREQ": 1, "PINGRESP": 1, "DISCONNECT": 1},
        "payload": 12000, "connections": 1, "published": {"qos0": 40}, "topics": {"a/b": 40},
    }  # fmt: skip


def mqtt_large_connect(target: Target) -> Expected:
    """A CONNECT with a will of 3,000 octets in three segments."""
    will = Will("last/words", b"w" * 3000, qos=1)
    publisher = Mqtt(target, Connect("publisher", will=will, user_name="somebody", password=b"unused"), piece=1200)
    publisher.piece = 0
    publisher.ping()
    publisher.end()
    kinds = {"CONNECT": 1, "CONNACK": 1, "PINGREQ": 1, "PINGRESP": 1, "DISCONNECT": 1}
    return {"kinds": kinds, "payload": 0, "connections": 1}


def mqtt_logged_in(target: Target) -> Expected:
    """Five messages at QoS 1 of a client that subscribes to itself, with user name and password (masked here)."""
    login = {"user_name": target.user, "password": (target.password or "").encode()}
    client = Mqtt(target, Connect("client", **login))
    client.send(Subscribe(1, (Subscription("a/+", 1),)))
    client.expect("Suback")
    for number in range(5):
        client.send(Publish("a/b", b"12345", 1, packet_id=number + 2))
        for _ in range(2):  # the acknowledgement and the message come in either order
            if type(client.next()).__name__ == "Publish":
                client.send(Puback(client.last.packet_id))
    client.ping()
    client.end()
    return {
        "kinds": {
            "CONNECT": 1, "CONNACK": 1, "SUBSCRIBE": 1, "SUBACK": 1, "PUBLISH": 10, "PUBACK": 10, "PINGREQ": 1,
            "PINGRESP": 1, "DISCONNECT": 1,
        },
        "payload": 50, "connections": 1, "published": {"qos1": 5}, "delivered": {"qos1": 5}, "topics": {"a/b": 10},
    }  # fmt: skip


def amqp_messages(target: Target, kind: type[Amqp] = Amqp) -> Expected:
    """Ten confirmed messages through a topic exchange to a consumer that acknowledges; two fetched with basic.get."""
    talk = kind(target)
    talk.call("confirm.select")
    queue = talk.call("queue.declare", exclusive=True).arguments["queue"]
    talk.call("queue.bind", queue=queue, exchange="amq.topic", routing_key="user.#")
    for number in range(12):
        properties = {"content_type": "text/plain", "delivery_mode": 1, "headers": {"number": number, "text": "ä"}}
        talk.send(
            *amqp.content(
                "basic.publish", 1, body=b"b" * 100, properties=properties,
                exchange="amq.topic", routing_key=f"user.{number % 2}.error",
            )
        )  # fmt: skip
        talk.expect("basic.ack")
    for _ in range(2):
        talk.send(amqp.method("basic.ack", delivery_tag=talk.get(queue)))
    talk.call("basic.consume", queue=queue, consumer_tag="c")
    for _ in range(10):
        talk.send(amqp.method("basic.ack", delivery_tag=talk.take()))
    talk.send(amqp.method("basic.get", queue=queue))
    talk.expect("basic.get-empty")
    talk.end()
    return {
        "kinds": AMQP_OPENING | {
            "confirm.select": 1, "confirm.select-ok": 1, "queue.declare": 1, "queue.declare-ok": 1, "queue.bind": 1,
            "queue.bind-ok": 1, "basic.publish": 12, "basic.ack": 24, "basic.get": 3, "basic.get-ok": 2,
            "basic.get-empty": 1, "basic.consume": 1, "basic.consume-ok": 1, "basic.deliver": 10, "header": 24,
            "body": 24,
        },
        "payload": 2400, "connections": 1, "published": {"all": 12}, "delivered": {"all": 12},
        "routing_keys": {"amq.topic/user.0.error": 12, "amq.topic/user.1.error": 12},
    }  # fmt: skip


def amqp_mid_connection(target: Target) -> Iterator[Expected]:
    """Publisher and consumer were connected, and the consumer subscribed, before the capture began."""
    consumer, publisher = Amqp(target), Amqp(target)
    queue = consumer.call("queue.declare", exclusive=True).arguments["queue"]
    consumer.call("queue.bind", queue=queue, exchange="amq.direct", routing_key="key")
    consumer.call("basic.consume", queue=queue, consumer_tag="c")
    publisher.call("confirm.select")
    yield {}  # from here on it is captured
    for _ in range(10):
        publisher.send(*amqp.content("basic.publish", 1, body=b"0123456789", exchange="amq.direct", routing_key="key"))
        publisher.expect("basic.ack")
        consumer.send(amqp.method("basic.ack", delivery_tag=consumer.take()))
    consumer.end()
    publisher.end()
    yield {
        "kinds": {
            "basic.publish": 10, "basic.deliver": 10, "basic.ack": 20, "header": 20, "body": 20, "channel.close": 2,
            "channel.close-ok": 2, "connection.close": 2, "connection.close-ok": 2,
        },
        "payload": 200, "connections": 2, "published": {"all": 10}, "delivered": {"all": 10},
        "routing_keys": {"amq.direct/key": 20},
    }  # fmt: skip


def amqp_large_body(target: Target) -> Expected:
    """One message of 140,000 octets, in two body frames of at most 131,072 octets, there and back; one empty one."""
    talk = Amqp(target)
    queue = talk.call("queue.declare", exclusive=True).arguments["queue"]
    for body in (b"z" * 140_000, b""):
        talk.send(*amqp.content("basic.publish", 1, body=body, frame_max=131072, exchange="", routing_key=queue))
        talk.send(amqp.method("basic.get", queue=queue, no_ack=True))
        talk.expect("basic.get-ok")
        talk.expect("header")
        for _ in range(2 if body else 0):
            talk.expect("body")
    talk.end()
    return {
        "kinds": AMQP_OPENING | {
            "queue.declare": 1, "queue.declare-ok": 1, "basic.publish": 2, "basic.get": 2, "basic.get-ok": 2,
            "header": 4, "body": 4,
        },
        "payload": 280_000, "connections": 1, "published": {"all": 2}, "delivered": {"all": 2},
    }  # fmt: skip
