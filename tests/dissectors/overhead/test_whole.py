"""What stands whole in a segment is taken in one go, all else in pieces: both ways lead to the same books."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Connect, Pingreq, Pingresp, Puback, Publish, Pubrel
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation

Account = dict[str, Any]
Said = list[tuple[int, bytes]]
HEADERS = ("link", "ip", "tcp", "tcp_options")


def amqp_frames() -> Iterator[tuple[int, bytes]]:
    """Yield every method, and messages with and without properties and body; a method that nobody knows."""
    yield CLIENT, b"AMQP\0\0\x09\x01"
    for name in METHODS:
        yield CLIENT, amqp.encode(amqp.method(name))
    where = {"exchange": "orders", "routing_key": "a.key" * 20}
    for name, side in (("basic.publish", CLIENT), ("basic.deliver", BROKER), ("basic.return", BROKER)):
        for body in (b"", b"body"):
            frames = amqp.content(name, body=body, properties={"content_type": "text/plain"}, **where)
            yield side, b"".join(map(amqp.encode, frames))
    yield BROKER, b"\x01\0\x01\0\0\0\x06\0\x3c\0\x7a\1\2\xce" + b"\x08\0\0\0\0\0\0\xce"


def mqtt_packets(version: Version) -> Iterator[tuple[int, bytes]]:
    """Yield messages of each QoS, acknowledgements, pings."""
    yield CLIENT, mqtt.encode(Connect("me"), version)
    for size in (0, 1, 200):
        yield CLIENT, mqtt.encode(Publish("topic/name", bytes(size)), version)
        yield BROKER, mqtt.encode(Publish("t" * 90, bytes(size), 1, packet_id=7), version)
    for packet in (Puback(7), Pubrel(8), Pingreq()):
        yield CLIENT, mqtt.encode(packet, version)
    yield BROKER, mqtt.encode(Pingresp(), version)


@pytest.mark.parametrize("size", [1, 2, 5, 11])
@pytest.mark.parametrize("protocol", ["amqp", *Version])
def test_whole_and_in_pieces(account: Callable[..., Account], protocol: str | Version, size: int) -> None:
    said = list(amqp_frames() if isinstance(protocol, str) else mqtt_packets(protocol))
    whole, pieces = (books(account, said, octets) for octets in (1460, size))
    assert whole == pieces


def books(account: Callable[..., Account], said: Said, size: int) -> Account:
    """Return what does not depend on the number of packets."""
    talk = Conversation()
    packets = [*talk.open(), *(packet for side, octets in said for packet in talk.say(side, octets, size=size))]
    found = account([*packets, *talk.close()])
    layers = {name: octets for name, octets in found["bytes"]["by_layer"].items() if name not in HEADERS}
    return {"layers": layers, **{name: found[name] for name in ("kinds", "routing_keys", "topics")}}
