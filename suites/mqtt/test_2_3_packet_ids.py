"""Sections 2.3.1 of MQTT 3.1.1 and 2.2.1 of 5.0: what becomes of packet identifiers when all 65,535 have been used."""

import time

import pytest
from mqproof.dissectors.mqtt.codec import encode
from mqproof.harness.verdicts import Blocked, Untested, check
from mqproof.harness.wires.base import End, Ended
from mqproof.harness.wires.mqtt_link import deadline
from mqproof.harness.wires.mqtt_packets import PUBACK, PUBLISH, made
from mqproof.suites.mqtt.test_4_3_qos import ONE_AT_A_TIME

IDS = 65_535
AT_ONCE = 100
SECONDS = 240.0  # before patience, for all of them: slow brokers take half a minute


@pytest.mark.normative("mqtt-3.1.1:MQTT-2.3.1-4", "mqtt-5.0:MQTT-2.2.1-4")
def test_packet_ids_begin_anew_after_65535_and_spare_one_in_use(wires, topic):
    """One message stays unacknowledged while more follow than there are packet identifiers."""
    if not wires.target.is_local:
        raise Untested("it sends 65,535 messages as fast as they are taken: only to a broker on this machine")
    if wires.target.is_recorded:
        raise Untested("it sends 65,535 messages, in which everything else that is recorded would drown")
    subscriber, publisher = wires(), wires()
    subscriber.subscribe(topic, qos=1)
    publisher.deliver(topic, b"held", qos=1)
    held = subscriber.expect(PUBLISH, payload=b"held").packet_id
    publisher.deliver(topic, b"beside it", qos=1)
    beside = subscriber.opened(1)
    if not beside:
        raise Untested(ONE_AT_A_TIME)
    subscriber.answer(beside[0])
    with publisher.unrecorded(f"{IDS} messages"), subscriber.unrecorded(f"{IDS} messages, each acknowledged"):
        met = Torrent(publisher, subscriber, topic).ids()
    first = met.index(0) if 0 in met else 0
    check(0 not in met, expected="no packet identifier 0", actual=f"0 after {first} others")
    check(held not in met, expected=f"{held} not again: it is in use", actual=f"{held} again")


class Torrent:
    """As many messages at once as the server takes, a hundred at most, again and again until all ids were used."""

    def __init__(self, publisher, subscriber, topic):
        self.publisher, self.subscriber = publisher, subscriber
        self.count = min(AT_ONCE, publisher.window)
        numbers = range(2, self.count + 2)
        packets = (made(PUBLISH, topic=topic, payload=b"x", qos=1, packet_id=number) for number in numbers)
        self.octets = b"".join(encode(packet, publisher.version) for packet in packets)
        self.until = deadline(SECONDS)
        self.met = []  # packet identifiers at the subscriber

    def ids(self):
        """Return the packet identifiers that the messages had at the subscriber. Raises Blocked and Untested."""
        while len(self.met) < IDS:
            self.publisher.send(self.octets)
            self.acknowledge(len(self.met) + self.count)
            for _ in range(self.count):
                self.next_of(self.publisher, PUBACK)
        return self.met

    def acknowledge(self, count):
        """Acknowledge at the subscriber until so many messages have come, each time all that are there."""
        acknowledgements: list[bytes] = []
        while len(self.met) < count:
            got = self.next_of(self.subscriber, PUBLISH, is_urgent=bool(acknowledgements))
            if got is None:
                self.subscriber.send(b"".join(acknowledgements))
                acknowledgements = []
            elif got.payload == b"x":  # not the first one, repeated
                self.met.append(got.packet_id)
                acknowledgements.append(encode(made(PUBACK, packet_id=got.packet_id), self.subscriber.version))
        self.subscriber.send(b"".join(acknowledgements))

    def next_of(self, wire, kind, *, is_urgent=False):
        """Return the next packet of this kind; ``is_urgent``: None where none is here yet."""
        while not isinstance(got := wire.arrive(time.monotonic() if is_urgent else self.until), Ended):
            if isinstance(got, kind):
                return got
        if got.end is End.MALFORMED:  # as an identifier 0 makes it
            check(condition=False, expected="well-formed packets", actual=got)
        if got.closed:
            raise Blocked(f"after {len(self.met)} messages, while one stays unacknowledged: {got}")
        if is_urgent:
            return None
        raise Untested(f"the broker took {len(self.met)} messages within {SECONDS:.0f} s: too few for all identifiers")
