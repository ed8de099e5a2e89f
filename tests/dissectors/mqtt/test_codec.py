"""The MQTT codec against independent readers (paho, scapy), the tables, and arbitrary octets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqproof.dissectors.errors import Malformed, Unencodable
from mqproof.dissectors.mqtt import codec, tables
from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connack,
    Connect,
    Decoder,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    RawPacket,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
    decode,
    encode,
    encode_properties,
    encode_string,
    encode_varint,
)
from mqproof.dissectors.mqtt.tables import PacketType, PropertySpec, Version
from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from scapy.contrib.mqtt import MQTT

VERSIONS = st.sampled_from([Version.V3_1_1, Version.V5_0])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
IDS = st.integers(1, 65535)
BYTES = st.binary(max_size=30)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "varint": st.integers(1, tables.MAX_VARINT),
    "string": TEXT,
    "binary": BYTES,
    "pair": st.tuples(TEXT, TEXT),
}
WIDTH = {"byte": 255, "two": 65535, "four": 2**32 - 1}


def value_of(spec: PropertySpec) -> st.SearchStrategy[Any]:
    if spec.type in VALUES:
        return VALUES[spec.type]
    return st.integers(spec.lowest, spec.highest if spec.highest is not None else WIDTH[spec.type])


@st.composite
def properties(draw: st.DrawFn, packet: str, version: Version) -> tuple[tuple[str, Any], ...]:
    if version is not Version.V5_0:
        return ()
    allowed = [spec for spec in tables.PROPERTIES.values() if packet in spec.packets]
    chosen = draw(st.lists(st.sampled_from(allowed), unique_by=lambda spec: spec.name, max_size=4))
    repeated = [tables.PROPERTIES["user_property"]] * draw(st.integers(0, 2)) if packet != "PINGREQ" else []
    return tuple((spec.name, draw(value_of(spec))) for spec in chosen + repeated)


@st.composite
def connects(draw: st.DrawFn, version: Version) -> Connect:
    will = None
    if draw(st.booleans()):
        qos, retain = draw(st.integers(0, 2)), draw(st.booleans())
        will = Will(draw(TEXT), draw(BYTES), qos, retain, draw(properties("WILL", version)))
    user_name = draw(st.none() | TEXT)
    password = draw(st.none() | BYTES) if user_name is not None or version is Version.V5_0 else None
    return Connect(
        draw(TEXT), draw(st.booleans()), draw(st.integers(0, 65535)), will, user_name, password, version,
        draw(properties("CONNECT", version)),
    )  # fmt: skip


@st.composite
def publishes(draw: st.DrawFn, version: Version) -> Publish:
    qos = draw(st.integers(0, 2))
    return Publish(
        draw(TEXT), draw(BYTES), qos, draw(st.booleans()), bool(qos) and draw(st.booleans()),
        draw(IDS) if qos else None, draw(properties("PUBLISH", version)),
    )  # fmt: skip


@st.composite
def packets(draw: st.DrawFn, version: Version) -> Packet:
    five = version is Version.V5_0
    codes = st.integers(0, 255) if five else st.just(0)

    def props(name: str) -> st.SearchStrategy[tuple[tuple[str, Any], ...]]:
        return properties(name, version)

    options = st.builds(Subscription, TEXT, st.integers(0, 2), *(
        [st.booleans(), st.booleans(), st.integers(0, 2)] if five else []
    ))  # fmt: skip
    some_codes = st.lists(st.integers(0, 255), min_size=1, max_size=4).map(tuple)
    kinds: list[st.SearchStrategy[Packet]] = [
        connects(version),
        publishes(version),
        st.builds(Connack, st.booleans(), st.integers(0, 255), props("CONNACK")),
        *(st.builds(kind, IDS, codes, props(kind.__name__.upper())) for kind in (Puback, Pubrec, Pubrel, Pubcomp)),
        st.builds(Subscribe, IDS, st.lists(options, min_size=1, max_size=3).map(tuple), props("SUBSCRIBE")),
        st.builds(Suback, IDS, some_codes, props("SUBACK")),
        st.builds(Unsubscribe, IDS, st.lists(TEXT, min_size=1, max_size=3).map(tuple), props("UNSUBSCRIBE")),
        st.builds(Unsuback, IDS, some_codes if five else st.just(()), props("UNSUBACK")),
        st.builds(Pingreq),
        st.builds(Pingresp),
        st.builds(Disconnect, codes, props("DISCONNECT")),
    ]
    if five:
        kinds.append(st.builds(Auth, codes, props("AUTH")))
    return draw(st.one_of(kinds))


VERSIONED = VERSIONS.flatmap(lambda version: st.tuples(st.just(version), packets(version)))


@given(VERSIONED, st.binary(max_size=10))
def test_decoding_returns_what_was_encoded_and_leaves_what_follows(
    pair: tuple[Version, Packet], trailing: bytes
) -> None:
    version, packet = pair
    octets = encode(packet, version)
    assert decode(octets + trailing, version=version) == (packet, len(octets))


@given(VERSIONS.flatmap(lambda version: st.tuples(st.just(version), st.lists(packets(version), max_size=4))))
def test_packets_fed_octet_by_octet_come_out_the_same(pair: tuple[Version, list[Packet]]) -> None:
    version, sent = pair
    decoder, found = Decoder(version), []
    for octet in b"".join(encode(packet, version) for packet in sent):
        decoder.feed(bytes([octet]))
        if (packet := decoder.next()) is not None:
            found.append(packet)
    assert found == sent


@given(VERSIONS, st.binary(max_size=200))
def test_any_octets_are_packets_or_malformed_and_nothing_else(version: Version, octets: bytes) -> None:
    decoder = Decoder(version)
    decoder.feed(octets)
    taken, error = drain(decoder, octets)
    if error is None:
        assert decoder.buffered == len(octets) - taken
    else:
        assert error.rule.startswith("mqtt-")
        with pytest.raises(Malformed):
            decoder.next()


def drain(decoder: Decoder, octets: bytes) -> tuple[int, Malformed | None]:
    """Take packets until none is left; how many octets they had, and the error that ended it."""
    taken = 0
    try:
        while decoder.next() is not None:
            assert octets[taken:].startswith(decoder.last_frame_octets)
            taken += len(decoder.last_frame_octets)
    except Malformed as error:
        return taken, error
    return taken, None


@given(VERSIONED, st.data())
def test_one_changed_octet_never_crashes_the_decoder(pair: tuple[Version, Packet], data: st.DataObject) -> None:
    version, packet = pair
    octets = bytearray(encode(packet, version))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    decoder = Decoder(version)
    decoder.feed(bytes(octets))
    _, error = drain(decoder, bytes(octets))
    assert error is None or 0 <= error.offset <= len(octets)


PAHO_PACKETS = {
    "CONNECT": PacketTypes.CONNECT, "CONNACK": PacketTypes.CONNACK, "PUBLISH": PacketTypes.PUBLISH,
    "PUBACK": PacketTypes.PUBACK, "SUBSCRIBE": PacketTypes.SUBSCRIBE, "SUBACK": PacketTypes.SUBACK,
    "UNSUBSCRIBE": PacketTypes.UNSUBSCRIBE, "DISCONNECT": PacketTypes.DISCONNECT, "AUTH": PacketTypes.AUTH,
    "WILL": PacketTypes.WILLMESSAGE,
}  # fmt: skip
PAHO_CASES = [
    (packet, spec) for spec in tables.PROPERTIES.values() for packet in sorted(spec.packets) if packet in PAHO_PACKETS
]


@pytest.mark.parametrize(("packet", "spec"), PAHO_CASES, ids=lambda value: getattr(value, "name", value))
def test_paho_writes_each_property_as_we_do(packet: str, spec: PropertySpec) -> None:
    value = {"string": "text", "binary": b"\x00\xff", "pair": ("a", "b"), "varint": 200}.get(spec.type, 1)
    theirs = PahoProperties(PAHO_PACKETS[packet])
    name = "".join(word.capitalize() for word in spec.name.split("_")).replace("Qos", "QoS")
    setattr(theirs, name, value)
    assert theirs.pack() == encode_properties([(spec.name, value)])


@pytest.mark.parametrize(("packet", "name"), [
    (packet, spec.name) for spec in tables.PROPERTIES.values() for packet in PAHO_PACKETS if packet not in spec.packets
])  # fmt: skip
def test_paho_forbids_each_property_where_we_do(packet: str, name: str) -> None:
    theirs = PahoProperties(PAHO_PACKETS[packet])
    with pytest.raises((MQTTException, IndexError)):  # paho has no name for WILL to put into its message
        setattr(theirs, "".join(word.capitalize() for word in name.split("_")).replace("Qos", "QoS"), 1)


@pytest.mark.parametrize(
    ("packet", "fields"),
    [
        (Publish("a/b", b"xyz", qos=1, packet_id=7, retain=True), {"topic": b"a/b", "value": b"xyz", "msgid": 7}),
        (Connect("me", keep_alive=6, user_name="u", password=b"p"), {"clientId": b"me", "klive": 6, "password": b"p"}),
        (Puback(9), {"msgid": 9}),
    ],
)
def test_scapy_reads_our_packets(packet: Packet, fields: dict[str, Any]) -> None:
    layer = MQTT(encode(packet, Version.V3_1_1)).payload
    assert {name: getattr(layer, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("octets", "version", "rule"),
    [
        (b"\x00\x00", Version.V5_0, "mqtt-5.0:MQTT-4.13.1-1"),
        (b"\xf0\x00", Version.V3_1_1, "mqtt-3.1.1:MQTT-4.8.0-1"),
        (b"\xc1\x00", Version.V3_1_1, "mqtt-3.1.1:MQTT-2.2.2-2"),
        (b"\x80\x06\x00\x01\x00\x01a\x00", Version.V5_0, "mqtt-5.0:MQTT-2.1.3-1"),
        (b"\x36\x05\x00\x01a\x00\x01", Version.V3_1_1, "mqtt-3.1.1:MQTT-3.3.1-4"),
        (b"\x30\x05\x00\x03\xed\xa0\x80", Version.V3_1_1, "mqtt-3.1.1:MQTT-1.5.3-1"),
        (b"\x30\x03\x00\x01\x00", Version.V3_1_1, "mqtt-3.1.1:MQTT-1.5.3-2"),
        (b"\x82\x05\x00\x00\x00\x00\x00", Version.V3_1_1, "mqtt-3.1.1:MQTT-2.3.1-1"),
        (b"\x82\x02\x00\x01", Version.V3_1_1, "mqtt-3.1.1:MQTT-3.8.3-3"),
        (b"\x30\xff\xff\xff\xff\x01", Version.V5_0, "mqtt-5.0:MQTT-4.13.1-1"),
    ],
)
def test_malformed_names_the_broken_statement(octets: bytes, version: Version, rule: str) -> None:
    with pytest.raises(Malformed) as raised:
        decode(octets, version=version)
    assert raised.value.rule == rule


@pytest.mark.parametrize(
    ("packet", "properties"),
    [
        ("PUBLISH", (("topic_alias", 0),)),
        ("PUBLISH", (("content_type", "a"), ("content_type", "b"))),
        ("PUBLISH", (("server_keep_alive", 1),)),
        ("PUBLISH", (("payload_format_indicator", 2),)),
    ],
)
def test_illegal_properties_are_malformed(packet: str, properties: tuple[tuple[str, Any], ...]) -> None:
    with pytest.raises(Malformed):
        decode(encode(Publish("a", properties=properties), Version.V5_0), version=Version.V5_0)


def test_unknown_property_is_malformed() -> None:
    with pytest.raises(Malformed, match="unknown property 0x7f"):
        decode(bytes([0x30, 6, 0, 1, 97, 2, 0x7F, 0]), version=Version.V5_0)


def test_shared_identifiers_may_repeat_in_publish_only() -> None:
    twice = (("subscription_identifier", 1), ("subscription_identifier", 2))
    packet = Publish("a", properties=twice)
    assert decode(encode(packet, Version.V5_0), version=Version.V5_0) == (packet, 10)
    with pytest.raises(Malformed, match="twice"):
        decode(encode(Subscribe(1, (Subscription("a"),), twice), Version.V5_0), version=Version.V5_0)


def test_longer_varints_than_needed_are_written_on_purpose_and_read() -> None:
    octets = encode(RawPacket(0x30, b"\x00\x01a", encode_varint(3, width=4)), Version.V3_1_1)
    assert octets == b"\x30\x83\x80\x80\x00\x00\x01a"
    assert decode(octets, version=Version.V3_1_1) == (Publish("a"), 8)


def test_octets_that_are_no_utf8_are_written_on_purpose() -> None:
    assert encode_string("\udced\udca0\udc80") == b"\x00\x03\xed\xa0\x80"


def test_packet_above_the_limit_is_malformed_before_it_is_whole() -> None:
    decoder = Decoder(max_packet_size=100)
    decoder.feed(b"\x30\xff\x01")
    with pytest.raises(Malformed, match="258 octets, 100 allowed"):
        decoder.next()


@pytest.mark.parametrize("value", [-1, tables.MAX_VARINT + 1])
def test_what_does_not_fit_is_unencodable(value: int) -> None:
    with pytest.raises(Unencodable):
        encode_varint(value)


def test_tables_hold_every_packet_property_and_flag() -> None:
    assert len(PacketType) == 15
    assert len(tables.PROPERTIES) == 27
    assert set(tables.FLAGS) == set(PacketType) - {PacketType.PUBLISH}
    assert codec.packet_name(RawPacket(0x00)) == "RESERVED"
