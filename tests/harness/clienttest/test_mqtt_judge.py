"""The judge is judged: made-up clients that break each statement are accused, one that keeps all is not."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
    encode,
)
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.clienttest.conversation import Conversation, Listening, Side
from mqproof.harness.clienttest.mqtt_statements import UNSEEN
from mqproof.harness.clienttest.opinions import Opinion
from mqproof.harness.clienttest.running import judge
from mqproof.harness.statements.registry import statements
from mqproof.harness.verdicts import Verdict

ACCEPTED = Connack()
V3, V5 = Version.V3_1_1, Version.V5_0
NAMES = {V3: "mqtt311", V5: "mqtt5"}


class Nowhere:
    """A link that leads nowhere."""

    def to_client(self, octets: bytes) -> None: ...

    def to_broker(self, octets: bytes) -> None: ...


class Timed(Conversation):
    """A conversation with a clock that the test sets."""

    def __init__(self) -> None:
        Conversation.__init__(self)
        self.clock = 100.0

    def add(self, side: Side, item: Any, octets: bytes = b"", when: float | None = None) -> None:
        super().add(side, item, octets, self.clock)


class Talk:
    """Made-up connections, one after the other."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.conversations: list[Timed] = []
        self._passage: Listening

    def open(self, connect: Packet | bytes | None = None, connack: Connack | None = ACCEPTED, **more: Any) -> "Talk":
        clock = self.conversations[-1].clock if self.conversations else 100.0
        self.conversations.append(Timed())
        self.conversations[-1].clock = clock
        self._passage = Listening(Nowhere(), "mqtt", self.conversations[-1])  # type: ignore[arg-type]
        more = {"client_id": "me", "version": self.version, **more}
        self.say(Connect(**more) if connect is None else connect)
        return self.hear(connack) if connack else self

    def say(self, *items: Packet | bytes) -> "Talk":
        for item in items:
            self._passage.from_client(item if isinstance(item, bytes) else encode(item, self.version))
        return self

    def hear(self, *items: Packet) -> "Talk":
        for item in items:
            self._passage.from_broker(encode(item, self.version))
        return self

    def wait(self, seconds: float) -> "Talk":
        self.conversations[-1].clock += seconds
        return self

    def end(self, side: Side = "client") -> "Talk":
        (self._passage.client_ended if side == "client" else self._passage.broker_ended)()
        return self

    def judged(self) -> dict[str, Opinion]:
        return {opinion.statement.id: opinion for opinion in judge(NAMES[self.version], self.conversations)}


def publish(qos: int = 1, number: int | None = 1, **more: Any) -> Publish:
    return Publish(more.pop("topic", "t"), b"x", qos, packet_id=number if qos else None, **more)


def subscribe(*filters: str, number: int = 9, **options: Any) -> Subscribe:
    return Subscribe(number, tuple(Subscription(text, **options) for text in filters))


def connect_octets(flags: int, *fields: bytes, version: int = 5, short: int = 0) -> bytes:
    """A CONNECT whose flags and fields need not agree; ``short`` cuts octets off its end."""
    payload = b"".join(len(field).to_bytes(2) + field for field in fields)
    properties = b"\0" if version == 5 else b""
    body = b"\0\4MQTT" + bytes([version, flags, 0, 60]) + properties + payload
    body = body[: len(body) - short]
    return bytes([0x10, len(body)]) + body


def cut_and_resumed(talk: Talk, *before: Packet) -> Talk:
    """A connection that breaks behind these publishes, and one that resumes its session."""
    talk.open(clean_start=False).say(*before).end("broker").end()
    return talk.open(clean_start=False, connack=Connack(session_present=True))


Case = Callable[[Talk], object]
LIMITED = (("receive_maximum", 1), ("maximum_qos", 1), ("retain_available", 0), ("maximum_packet_size", 60))
BOTH: dict[str, tuple[str, str, Case]] = {
    "connect first": ("MQTT-3.1.0-1", "MQTT-3.1.0-1", lambda t: t.open(Pingreq(), None)),
    "silent": ("MQTT-3.1.2-23", "MQTT-3.1.2-20", lambda t: t.open(keep_alive=10).wait(20).say(Pingreq())),
    "silent at the end": ("MQTT-3.1.2-23", "MQTT-3.1.2-20", lambda t: t.open(keep_alive=10).wait(20).end()),
    "id reused": ("MQTT-2.3.1-2", "MQTT-2.2.1-3", lambda t: t.open().say(publish(), publish(topic="u"))),
    "id of a publish": ("MQTT-2.3.1-3", "MQTT-2.2.1-3", lambda t: t.open().say(publish(), subscribe("a", number=1))),
    "first sending is a repetition": ("MQTT-4.3.2-1", "MQTT-4.3.2-2", lambda t: t.open().say(publish(dup=True))),
    "repetition is none": (
        "MQTT-3.3.1-1", "MQTT-3.3.1-1", lambda t: cut_and_resumed(t, publish()).say(publish()),
    ),
    "not repeated": (
        "MQTT-4.4.0-1", "MQTT-4.4.0-1", lambda t: cut_and_resumed(t, publish()).say(publish(number=2)),
    ),
    "not repeated before goodbye": (
        "MQTT-4.4.0-1", "MQTT-4.4.0-1", lambda t: cut_and_resumed(t, publish()).wait(5).say(Disconnect()),
    ),
    "repeated out of order": (
        "MQTT-4.6.0-1", "MQTT-4.6.0-1",
        lambda t: cut_and_resumed(t, publish(), publish(number=2)).say(publish(number=2, dup=True), publish(dup=True)),
    ),
    "puback order": (
        "MQTT-4.6.0-2", "MQTT-4.6.0-2",
        lambda t: t.open().hear(publish(number=1), publish(number=2)).say(Puback(2), Puback(1)),
    ),
    "pubrec order": (
        "MQTT-4.6.0-3", "MQTT-4.6.0-3",
        lambda t: t.open().hear(publish(2, 1), publish(2, 2)).say(Pubrec(2), Pubrec(1)),
    ),
    "pubrel order": (
        "MQTT-4.6.0-4", "MQTT-4.6.0-4",
        lambda t: t.open().say(publish(2, 1), publish(2, 2)).hear(Pubrec(1), Pubrec(2)).say(Pubrel(2), Pubrel(1)),
    ),
    "not acknowledged": (
        "MQTT-4.5.0-2", "MQTT-4.5.0-2", lambda t: t.open().hear(publish()).wait(5).say(Disconnect()),
    ),
    "no pubrel": (
        "MQTT-4.3.3-1", "MQTT-4.3.3-4", lambda t: t.open().say(publish(2)).hear(Pubrec(1)).wait(5).say(Disconnect()),
    ),
    "publish after pubrel": (
        "MQTT-4.3.3-1", "MQTT-4.3.3-6",
        lambda t: t.open().say(publish(2)).hear(Pubrec(1)).say(Pubrel(1), publish(2, 1, dup=True)),
    ),
    "no pubcomp": (
        "MQTT-4.3.3-2", "MQTT-4.3.3-11", lambda t: t.open().hear(Pubrel(1)).wait(5).say(Disconnect()),
    ),
    "stays after goodbye": (
        "MQTT-3.14.4-1", "MQTT-3.14.4-2", lambda t: t.open().say(Disconnect()).wait(4).end("broker").end(),
    ),
    "talks after goodbye": (
        "MQTT-3.14.4-2", "MQTT-3.14.4-1", lambda t: t.open().say(Disconnect(), Pingreq()),
    ),
    "wildcard topic": ("MQTT-3.3.2-2", "MQTT-3.3.2-2", lambda t: t.open().say(publish(topic="a/+"))),
    "filter text": (
        "MQTT-3.8.3-1", "MQTT-3.8.3-1",
        lambda t: t.open().say(b"\x82" + (b"\x06\0\1\0\1\xff\0" if t.version is V3 else b"\x07\0\1\0\0\1\xff\0")),
    ),
    "no filter": (
        "MQTT-3.8.3-3", "MQTT-3.8.3-2",
        lambda t: t.open().say(b"\x82\x02\0\1" if t.version is V3 else b"\x82\x03\0\1\0"),
    ),
    "unsubscribe text": (
        "MQTT-3.10.3-1", "MQTT-3.10.3-1",
        lambda t: t.open().say(b"\xa2" + (b"\x05\0\1\0\1\xff" if t.version is V3 else b"\x06\0\1\0\0\1\xff")),
    ),
    "no unsubscribe filter": (
        "MQTT-3.10.3-2", "MQTT-3.10.3-2",
        lambda t: t.open().say(b"\xa2\x02\0\1" if t.version is V3 else b"\xa2\x03\0\1\0"),
    ),
    "hash within": ("MQTT-4.7.1-2", "MQTT-4.7.1-1", lambda t: t.open().say(subscribe("a/#/b"))),
    "hash with letters": ("MQTT-4.7.1-2", "MQTT-4.7.1-1", lambda t: t.open().say(Unsubscribe(1, ("a/b#",)))),
    "plus with letters": ("MQTT-4.7.1-3", "MQTT-4.7.1-2", lambda t: t.open().say(subscribe("a/b+/c"))),
}  # fmt: skip


def connects(flags: int, *fields: bytes, short: int = 0) -> Case:
    return lambda t: t.open(connect_octets(flags, *fields, version=5 if t.version is V5 else 4, short=short), None)


CONNECTS: list[tuple[str, str, Case]] = [
    ("MQTT-3.1.2-11", "", connects(0x0A, b"me")),
    ("MQTT-3.1.2-13", "MQTT-3.1.2-11", connects(0x0A, b"me")),
    ("MQTT-3.1.2-15", "MQTT-3.1.2-13", connects(0x22, b"me")),
    ("MQTT-3.1.2-18", "MQTT-3.1.2-16", connects(0x02, b"me", b"user")),
    ("MQTT-3.1.2-19", "MQTT-3.1.2-17", connects(0x82, b"me")),
    ("MQTT-3.1.2-20", "MQTT-3.1.2-18", connects(0x82, b"me", b"user", b"secret")),
    ("MQTT-3.1.2-21", "MQTT-3.1.2-19", connects(0xC2, b"me", b"user")),
    ("MQTT-3.1.2-22", "", connects(0x42, b"me", b"secret")),
    ("MQTT-3.1.3-1", "MQTT-3.1.3-1", connects(0x82, b"me", b"user", b"more")),
    ("MQTT-3.1.3-3", "MQTT-3.1.3-3", connects(0x02)),
    ("MQTT-3.1.3-4", "MQTT-3.1.3-4", connects(0x02, b"\xff\xfe")),
    ("MQTT-3.1.3-7", "", connects(0x00, b"")),
    ("MQTT-3.1.3-11", "MQTT-3.1.3-12", connects(0x82, b"me", b"\xff")),
]
WILLS: list[tuple[Version, str, Case]] = [
    (V3, "MQTT-3.1.2-14", connects(0x1E, b"me", b"t", b"m")),
    (V5, "MQTT-3.1.2-12", lambda t: t.open(connect_octets(0x1E, b"me") + b"", None)),
    (V3, "MQTT-3.1.3-10", connects(0x06, b"me", b"\xff", b"m")),
    (V5, "MQTT-3.1.3-11", lambda t: t.open(encode_will(b"\xff"), None)),
    (V3, "MQTT-3.1.2-9", connects(0x06, b"me")),
    (V5, "MQTT-3.1.2-9", connects(0x06, b"me")),
]


def encode_will(topic: bytes) -> bytes:
    """A CONNECT of 5.0 with a will of these octets as topic."""
    fields = b"\0\2me" + b"\0" + len(topic).to_bytes(2) + topic + b"\0\1m"
    body = b"\0\4MQTT" + bytes([5, 0x06, 0, 60, 0]) + fields
    return bytes([0x10, len(body)]) + body


def limited(**more: Any) -> Connack:
    return Connack(properties=tuple({**dict(LIMITED), **more}.items()))


ONLY_5: list[tuple[str, Case]] = [
    ("MQTT-3.1.2-21", lambda t: t.open(keep_alive=60, connack=limited(server_keep_alive=5)).wait(30).say(Pingreq())),
    ("MQTT-3.2.2-21", lambda t: t.open(keep_alive=60, connack=limited(server_keep_alive=5)).wait(30).end()),
    ("MQTT-3.1.2-30", lambda t: t.open(None, None, properties=(("authentication_method", "m"),)).say(Pingreq())),
    ("MQTT-3.2.2-4", lambda t: t.open(connack=Connack(session_present=True)).wait(5).say(Pingreq())),
    ("MQTT-3.2.2-4", lambda t: t.open(connack=Connack(session_present=True)).wait(2).say(publish()).end()),
    ("MQTT-3.2.2-5", lambda t: forgotten(t).say(publish(dup=True))),
    ("MQTT-3.2.2-5", lambda t: forgotten(t).say(Pubrel(1))),
    ("MQTT-3.2.2-11", lambda t: t.open(connack=limited()).say(publish(2))),
    ("MQTT-3.2.2-14", lambda t: t.open(connack=limited()).say(publish(retain=True))),
    ("MQTT-3.2.2-15", lambda t: t.open(connack=limited()).say(publish(topic="t" * 60))),
    ("MQTT-3.2.2-17", lambda t: t.open(connack=limited(topic_alias_maximum=2)).say(aliased(3))),
    ("MQTT-3.3.2-9", lambda t: t.open(connack=limited(topic_alias_maximum=2)).say(aliased(3))),
    ("MQTT-3.2.2-18", lambda t: t.open().say(aliased(1))),
    ("MQTT-3.3.2-8", lambda t: t.open(connack=limited(topic_alias_maximum=2)).say(aliased(0))),
    ("MQTT-3.3.2-10", lambda t: t.open().hear(aliased(1)).say(Disconnect(0x94))),
    ("MQTT-3.3.4-6", lambda t: t.open().say(publish(properties=(("subscription_identifier", 1),)))),
    ("MQTT-3.3.4-7", lambda t: t.open(connack=limited()).say(publish(), publish(number=2))),
    ("MQTT-3.3.4-8", lambda t: t.open(keep_alive=5, connack=limited()).say(publish()).wait(30).say(Pingreq())),
    ("MQTT-3.8.3-4", lambda t: t.open().say(subscribe("$share/s/a", no_local=True))),
    ("MQTT-4.8.2-1", lambda t: t.open().say(subscribe("$share//a"))),
    ("MQTT-4.8.2-2", lambda t: t.open().say(subscribe("$share/s"))),
    ("MQTT-4.8.2-2", lambda t: t.open().say(subscribe("$share/s+/a"))),
    ("MQTT-4.12.0-3", lambda t: authenticated(t, None).say(Auth(0x00))),
    ("MQTT-4.12.0-7", lambda t: t.open().say(Auth(0x19))),
    ("MQTT-4.12.1-1", lambda t: authenticated(t).say(Auth(0x19, (("authentication_method", "other"),)))),
]


def forgotten(talk: Talk) -> Talk:
    talk.open(clean_start=False).say(publish()).end("broker").end()
    return talk.open(clean_start=False)


def aliased(alias: int) -> Publish:
    return publish(properties=(("topic_alias", alias),))


def authenticated(talk: Talk, connack: Connack | None = ACCEPTED) -> Talk:
    return talk.open(None, connack, properties=(("authentication_method", "m"),))


def cases() -> Iterable[Any]:
    for name, (older, newer, case) in BOTH.items():
        yield pytest.param(V3, older, case, id=f"v3-{name}")
        yield pytest.param(V5, newer, case, id=f"v5-{name}")
    for older, newer, case in CONNECTS:
        yield pytest.param(V3, older, case, id=f"v3-{older}")
        if newer:
            yield pytest.param(V5, newer, case, id=f"v5-{newer}")
    for version, key, case in WILLS:
        yield pytest.param(version, key, case, id=f"{key}-will")
    for number, (key, case) in enumerate(ONLY_5):
        yield pytest.param(V5, key, case, id=f"v5-{key}-{number}")


@pytest.mark.parametrize(("version", "key", "case"), list(cases()))
def test_a_client_that_breaks_a_statement_is_accused_of_it(version: Version, key: str, case: Case) -> None:
    talk = Talk(version)
    case(talk)
    found = talk.judged()
    assert found[key].verdict is Verdict.DEVIATES, [each.breaches for each in found.values() if each.breaches]


def good(version: Version) -> Talk:
    """A client that does everything right, with an occasion for every statement that it can keep."""
    talk = Talk(version)
    more = {"properties": (("authentication_method", "m"),)} if version is V5 else {}
    will = Will("w", b"gone", 1)
    talk.open(will=will, user_name="u", password=b"p", keep_alive=10, clean_start=False, **more)
    talk.say(subscribe("a/#", "+/b")).hear(Suback(9, (0, 0))).say(publish(0), publish(1), publish(2, 2))
    talk.hear(Puback(1), Pubrec(2)).say(Pubrel(2)).hear(Pubcomp(2)).say(publish(1), publish(2, 2)).hear(Pubrec(2))
    talk.say(Pubrel(2)).end("broker").end()
    talk.open(clean_start=False, connack=Connack(session_present=True), keep_alive=10, **more)
    talk.say(publish(1, dup=True), Pubrel(2)).hear(Puback(1), Pubcomp(2))
    talk.hear(publish(1, 5), publish(2, 6), publish(1, 7)).say(Puback(5), Pubrec(6), Puback(7)).hear(Pubrel(6))
    talk.say(Pubcomp(6)).wait(9).say(Pingreq()).wait(9).say(Unsubscribe(3, ("a/#",)), Disconnect()).end().end("broker")
    if version is V5:
        talk.open(connack=limited(topic_alias_maximum=2, server_keep_alive=5), clean_start=False)
        talk.say(aliased(2)).wait(5).say(Pingreq()).hear(Puback(1), aliased(1)).say(Puback(1))
        talk.say(subscribe("$share/s/a/+")).say(Disconnect()).end()
        talk.open(connack=Connack(session_present=True)).wait(0.1).end()
        talk.open(None, None, properties=more["properties"]).hear(Auth(0x18)).say(Auth(0x18)).hear(Connack())
        talk.say(Auth(0x19, more["properties"])).say(publish()).end("broker").end()
        talk.open(clean_start=False).say(publish(number=1)).end("broker").end()
        talk.open(clean_start=False).say(publish(number=1)).hear(Puback(1)).say(Disconnect()).end()
    talk.open(client_id="").say(Disconnect()).end()
    return talk


@pytest.mark.parametrize("version", [V3, V5])
def test_a_client_that_keeps_them_all_is_accused_of_nothing(version: Version) -> None:
    found = good(version).judged()
    assert {key: each.breaches for key, each in found.items() if each.breaches} == {}
    bound = {each.id for each in statements(version.spec) if each.actor == "client"}
    assert {key for key in bound if found[key].verdict is Verdict.UNTESTED} == set(UNSEEN) & bound


@pytest.mark.parametrize("version", [V3, V5])
def test_every_statement_that_binds_clients_has_a_client_that_breaks_it(version: Version) -> None:
    broken = {param.values[1] for param in cases() if param.values[0] is version}
    bound = {each.id for each in statements(version.spec) if each.actor == "client"}
    unbreakable = {"MQTT-7.1.2-1"}  # without a byte stream there is no conversation
    assert bound - broken - set(UNSEEN) - unbreakable == set()


def test_what_a_broken_connection_swallowed_is_not_held_against_the_client() -> None:
    talk = Talk(V3).open(clean_start=False).say(publish()).end("broker").end()
    talk.open(clean_start=False, connack=Connack(session_present=True))
    talk.say(publish(dup=True), publish(number=2, dup=True))  # the second was sent, and read by nobody
    assert [each for each in talk.judged().values() if each.breaches] == []
