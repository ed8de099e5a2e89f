"""Random conversations of two clients against a model of sessions, subscriptions, retained messages and QoS."""

import re
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from mqproof.dissectors.mqtt.codec import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Unsubscribe
from mqproof.dissectors.mqtt.tables import Version

FILTERS = ["a", "a/b", "a/+", "a/#", "+/b", "#", "$a/+"]
TOPICS = ["a", "a/b", "a/", "$a/b"]
WHO = st.sampled_from(["x", "y"])
STEP = st.one_of(
    st.tuples(st.just("subscribe"), WHO, st.sampled_from(FILTERS), st.integers(0, 2)),
    st.tuples(st.just("unsubscribe"), WHO, st.sampled_from(FILTERS)),
    st.tuples(st.just("publish"), WHO, st.sampled_from(TOPICS), st.integers(0, 2), st.booleans(), st.booleans()),
    st.tuples(st.just("publish"), WHO, st.sampled_from(TOPICS), st.integers(0, 2), st.just(False), st.just(False)),
    st.tuples(st.just("leave"), WHO, st.booleans()),
    st.tuples(st.just("arrive"), WHO, st.booleans()),
)


def selects(text, topic):
    """Section 4.7."""
    if topic[0] == "$" and text[0] in "+#":
        return False
    pattern = re.escape(text).replace(r"\+", "[^/]*")
    return re.fullmatch(pattern.replace(r"/\#", "(/.*)?").replace(r"\#", ".*"), topic) is not None


class Model:
    """What each client must see: (topic, payload, QoS, RETAIN) in order."""

    def __init__(self):
        self.grants = {}  # by client: filter -> QoS; a client without a session is not in it
        self.present = set()
        self.waiting = {}
        self.retained = {}

    def arrive(self, who, clean):
        resumed = who in self.grants and not clean
        if not resumed:
            self.grants[who], self.waiting[who] = {}, []
        self.present.add(who)
        return resumed

    def subscribe(self, who, text, qos):
        self.grants[who][text] = qos
        for topic, (payload, published) in self.retained.items():
            if selects(text, topic):
                self.waiting[who].append((topic, payload, min(qos, published), True))

    def publish(self, topic, payload, qos, retain):
        if retain:
            self.retained.pop(topic, None)
        if retain and payload:
            self.retained[topic] = (payload, qos)
        for who, grants in self.grants.items():
            granted = [grant for text, grant in grants.items() if selects(text, topic)]
            if granted and (who in self.present or min(qos, max(granted))):
                self.waiting[who].append((topic, payload, min(qos, max(granted)), False))

    def take(self, who):
        taken, self.waiting[who] = self.waiting[who], []
        return taken


def read(client, packets=()):
    """Return the messages that came, and acknowledge them."""
    found, packets = [], list(packets)
    while packets := packets + client.read():
        for packet in packets:
            if isinstance(packet, Publish):
                assert not packet.dup
                found.append((packet.topic, packet.payload, packet.qos, packet.retain))
                if packet.qos:
                    client.send(Puback(packet.packet_id) if packet.qos == 1 else Pubrec(packet.packet_id))
            elif isinstance(packet, Pubrel):
                client.send(Pubcomp(packet.packet_id))
        packets = []
    return found


@given(version=st.sampled_from([Version.V3_1_1, Version.V5_0]), steps=st.lists(STEP, min_size=12, max_size=40))
@settings(max_examples=300, deadline=None)
def test_random_conversation(make_world_once, version, steps):
    world, model, clients, serial = make_world_once(), Model(), {}, count(1)
    world.broker.retained.remove("$SYS/broker/version")
    for action, who, *more in [("arrive", "x", True), ("arrive", "y", True), *steps]:
        early = []
        if action == "arrive":
            if who in clients:
                continue
            # Clean Session of 3.1.1 ends the session with the connection: only 5.0 can start clean and keep.
            clean = more[0] and version is Version.V5_0
            clients[who] = world.client(who, version, keep=True, clean_start=clean)
            assert clients[who].connack.session_present == model.arrive(who, clean)
            early = clients[who].after_connack
        elif who not in clients:
            continue
        elif action == "leave":
            client = clients.pop(who)
            client.send(Disconnect()) if more[0] else client.cut()
            model.present.discard(who)
            continue
        elif action == "subscribe":
            text, qos = more
            model.subscribe(who, text, qos)
            early = clients[who].subscribe(text, qos=qos)
        elif action == "unsubscribe":
            (text,) = more
            model.grants[who].pop(text, None)
            clients[who].send(Unsubscribe(3, (text,)))
        else:
            topic, qos, retain, empty = more
            payload = b"" if empty else b"%d" % next(serial)
            model.publish(topic, payload, qos, retain)
            clients[who].send(Publish(topic, payload, qos, retain, packet_id=7 if qos else None))
            if qos == 2:
                clients[who].send(Pubrel(7))
        for name in clients:
            assert read(clients[name], early if name == who else ()) == model.take(name)
