"""Makes large captures for the benchmarks: MQTT and AMQP mixed, the same octets every time.

    python make_capture.py FILE PACKETS

200 connections, half of each protocol; publishers and consumers; QoS 0 and 1; acknowledgements; bare ACKs; 300 topics
and routing keys; 2 % of the segments swapped with the next, 1 % repeated.
"""

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Connack, Connect, Puback, Publish
from mqproof.dissectors.mqtt.tables import Version

CONNECTIONS = 200
KEYS = 300
HEAD = struct.Struct(">12sHBBHHHBBH4s4sHHIIBBHHH")
RECORD = struct.Struct("<IIII")
FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
SYN, PSH, ACK = 2, 8, 16
CLIENT, BROKER = 0, 1


class Connection:
    """One TCP connection's addresses and sequence numbers."""

    def __init__(self, number: int) -> None:
        self.amqp = number % 2 == 1
        client = bytes((10, 0, number >> 8, number & 255))
        self.ends = ((client, 40000 + number), (bytes((10, 1, 0, 1)), 5672 if self.amqp else 1883))
        self.sequence = [number * 77777 & 0xFFFFFFFF, number * 99999 & 0xFFFFFFFF]

    def packet(self, side: int, flags: int, octets: bytes = b"") -> bytes:
        """Return the next packet of one side: Ethernet, IPv4, TCP."""
        (source, source_port), (sink, sink_port) = self.ends[side], self.ends[1 - side]
        sequence = self.sequence[side]
        self.sequence[side] = (sequence + len(octets) + (flags & SYN) // SYN) & 0xFFFFFFFF
        return HEAD.pack(
            b"\2" * 12, 0x800, 0x45, 0, 40 + len(octets), 0, 0x4000, 64, 6, 0, source, sink,
            source_port, sink_port, sequence, self.sequence[1 - side], 0x50, flags, 0xFFFF, 0, 0,
        ) + octets  # fmt: skip


def opening(connection: Connection) -> Iterator[bytes]:
    """Yield the handshake and the protocol's first words."""
    yield connection.packet(CLIENT, SYN)
    yield connection.packet(BROKER, SYN | ACK)
    yield connection.packet(CLIENT, ACK)
    if connection.amqp:
        yield connection.packet(CLIENT, PSH | ACK, b"AMQP\0\0\x09\x01")
        yield connection.packet(BROKER, PSH | ACK, amqp.encode(amqp.method("connection.start", 0)))
    else:
        yield connection.packet(CLIENT, PSH | ACK, mqtt.encode(Connect("bench"), Version.V3_1_1))
        yield connection.packet(BROKER, PSH | ACK, mqtt.encode(Connack(), Version.V3_1_1))


def mqtt_turns(chance: random.Random) -> list[list[tuple[int, bytes]]]:
    """Return what may happen next on an MQTT connection: who says what."""
    turns = []
    for number in range(KEYS):
        topic = f"plant/line{number % 17}/sensor{number}"
        payload = chance.randbytes(chance.choice((12, 200, 900, 1300)))
        zero = mqtt.encode(Publish(topic, payload), Version.V3_1_1)
        one = mqtt.encode(Publish(topic, payload, 1, packet_id=number + 1), Version.V3_1_1)
        answer = mqtt.encode(Puback(number + 1), Version.V3_1_1)
        turns.append([(CLIENT, zero)])
        turns.append([(BROKER, zero), (CLIENT, b"")])
        turns.append([(CLIENT, one), (BROKER, answer)])
        turns.append([(BROKER, one), (CLIENT, answer)])
    return turns


def amqp_turns(chance: random.Random) -> list[list[tuple[int, bytes]]]:
    """Return what may happen next on an AMQP connection."""
    turns = []
    for number in range(KEYS):
        body = chance.randbytes(chance.choice((12, 200, 900, 1250)))
        where = {"exchange": "amq.topic", "routing_key": f"plant.line{number % 17}.sensor{number}"}
        publish = b"".join(map(amqp.encode, amqp.content("basic.publish", 1, body=body, **where)))
        deliver = b"".join(map(amqp.encode, amqp.content("basic.deliver", 1, body=body, delivery_tag=number, **where)))
        answer = amqp.encode(amqp.method("basic.ack", 1, delivery_tag=number))
        turns.append([(CLIENT, publish), (BROKER, answer)])
        turns.append([(BROKER, deliver), (CLIENT, answer)])
    return turns


def packets(count: int) -> Iterator[bytes]:
    """Yield ``count`` packets."""
    chance = random.Random(7)
    connections = [Connection(number) for number in range(CONNECTIONS)]
    turns = {False: mqtt_turns(chance), True: amqp_turns(chance)}
    made = 0
    for connection in connections:
        for packet in opening(connection):
            yield packet
            made += 1
    while made < count:
        connection = connections[made % CONNECTIONS]
        turn = [
            connection.packet(side, PSH | ACK if octets else ACK, octets)
            for side, octets in chance.choice(turns[connection.amqp])
        ]
        luck = chance.random()
        if luck < 0.01:
            turn.append(turn[0])
        elif luck < 0.03:
            following = connection.packet(*next(iter([(CLIENT, PSH | ACK, turns[connection.amqp][0][0][1])])))
            turn = [following, *turn] if turn[0][26:30] == following[26:30] else [*turn, following]
        yield from turn
        made += len(turn)


def write(path: Path, count: int) -> None:
    """Write a pcap file."""
    with path.open("wb", buffering=1 << 20) as file:
        file.write(FILE_HEADER)
        for number, packet in enumerate(packets(count)):
            file.write(RECORD.pack(number // 1000, number % 1000 * 1000, len(packet), len(packet)))
            file.write(packet)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
