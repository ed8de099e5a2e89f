"""IP datagrams in fragments: put together within bounds, and every octet is booked, whatever becomes of them."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Connect, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.overhead import compiled
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import Plain, analyze
from mqproof.dissectors.overhead.selection import Selection, connection
from mqproof.dissectors.overhead.views import look
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.craft import CLIENT, Conversation
from mqproof.dissectors.packets.fragments import LIFETIME
from mqproof.dissectors.packets.pcap import Packet, read_packets, write_packets
from mqproof.harness import oracle

Account = dict[str, Any]
Accounting = Callable[..., Account]
HOSTS = {4: ("10.0.0.1", "10.0.0.2"), 6: ("2001:db8::1", "2001:db8::2")}
MESSAGE = mqtt.encode(Publish("a/b", bytes(range(250)) * 16), Version.V3_1_1)  # 4,008 octets
SIZE = 1208  # octets of a fragment's payload


def talk(version: int) -> Conversation:
    client, broker = HOSTS[version]
    return Conversation((client, 40000), (broker, 1883))


def opened(conversation: Conversation) -> list[bytes]:
    return [*conversation.open(), *conversation.say(CLIENT, mqtt.encode(Connect("me"), Version.V3_1_1))]


def fragments(packet: bytes, identification: int = 7, size: int = SIZE) -> list[bytes]:
    """Return an Ethernet packet in fragments, as scapy cuts it."""
    from scapy.layers.inet import IP, fragment
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
    from scapy.layers.l2 import Ether

    ethernet = Ether(packet)
    if IP in ethernet:
        ethernet[IP].id = identification
        return [bytes(piece) for piece in fragment(ethernet, fragsize=size)]
    inner = ethernet[IPv6]
    whole = IPv6(src=inner.src, dst=inner.dst) / IPv6ExtHdrFragment(id=identification, nh=inner.nh) / inner.payload
    return [bytes(Ether(ethernet.build()[:14]) / piece) for piece in fragment6(whole, size + 48)]


def published(account: Account) -> int:
    return int(account["kinds"]["mqtt"].get("PUBLISH", {"count": 0})["count"])


@pytest.fixture
def scene(version: int) -> tuple[list[bytes], list[bytes]]:
    """Return the opening packets and the fragments of one message."""
    conversation = talk(version)
    return opened(conversation), fragments(*conversation.say(CLIENT, MESSAGE, size=9000))


VERSIONS = pytest.mark.parametrize("version", [4, 6])
Parts = tuple[list[bytes], list[bytes]]


@VERSIONS
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_a_message_in_fragments_is_whole(
    account: Accounting, scene: Parts, version: int, order: tuple[int, ...]
) -> None:
    opening, pieces = scene
    assert len(pieces) == 4
    whole = account([*opening, *(pieces[i] for i in order)])
    assert published(whole) == 1
    assert whole["bytes"]["by_layer"]["payload"] == 4000
    headers = 4 * (14 + (20 if version == 4 else 48))
    layers = whole["bytes"]["by_layer"]
    opening_headers = len(opening) * (14 + (20 if version == 4 else 40))
    assert layers["link"] + layers["ip"] == opening_headers + headers
    assert whole["bytes"]["by_purpose"]["application"] == headers + 20 + len(MESSAGE)
    assert whole["bytes"]["by_protocol"]["mqtt_qos0"]["packets"] == 4
    assert whole["connections"]["top"][0]["packets"] == len(opening) + 4
    assert (whole["tcp"]["fragments"], whole["tcp"]["datagrams_reassembled"]) == (4, 1)
    assert whole["tcp"]["gaps"] == whole["tcp"]["datagrams_given_up"] == 0


@pytest.mark.skipif(not oracle.available(), reason="tshark is not installed")
@VERSIONS
def test_tshark_agrees(tmp_path: Path, scene: Parts) -> None:
    opening, pieces = scene
    path = tmp_path / "fragments.pcapng"
    write_packets(path, [Packet(i * 1000, data, len(data), 1) for i, data in enumerate([*opening, *pieces[::-1]])], 1)
    ours = as_json(analyze(str(path)))["kinds"]["mqtt"]
    assert {kind: row["count"] for kind, row in ours.items()} == oracle.counts(path)["mqtt"]


@VERSIONS
@pytest.mark.parametrize("missing", range(4))
def test_what_is_never_whole_is_undecoded(account: Accounting, scene: Parts, missing: int) -> None:
    opening, pieces = scene
    del pieces[missing]
    result = account([*opening, *pieces])
    assert published(result) == 0
    assert result["bytes"]["by_purpose"]["undecoded"] == sum(map(len, pieces))
    assert (result["tcp"]["datagrams_reassembled"], result["tcp"]["datagrams_given_up"]) == (0, 1)
    assert result["tcp"]["datagrams_bound"] == 0


@VERSIONS
def test_copies_are_retransmissions_before_and_after_the_datagram_is_whole(account: Accounting, scene: Parts) -> None:
    opening, pieces = scene
    result = account([*opening, pieces[1], *pieces, pieces[0], *pieces])
    assert published(result) == 1
    assert result["tcp"]["fragments_repeated"] == 6
    assert result["tcp"]["datagrams_reassembled"] == 1
    copies = sum(map(len, [pieces[1], pieces[0], *pieces]))
    assert result["bytes"]["by_purpose"]["retransmission"] == copies
    assert result["tcp"]["datagrams_given_up"] == 0


@VERSIONS
def test_an_overlap_makes_the_datagram_worthless(account: Accounting, version: int) -> None:
    """RFC 8200 section 4.5; what comes after it is no whole datagram either."""
    conversation = talk(version)
    opening = opened(conversation)
    (packet,) = conversation.say(CLIENT, MESSAGE, size=9000)
    pieces = fragments(packet)
    other = fragments(packet, size=SIZE + 200)
    result = account([*opening, pieces[0], other[1], *pieces[1:]])
    assert published(result) == 0
    assert result["tcp"]["datagrams_given_up"] == 2
    assert result["bytes"]["by_purpose"]["undecoded"] == sum(map(len, [other[1], *pieces]))


@VERSIONS
@pytest.mark.parametrize("cut", [9000, 600])
def test_an_identification_that_is_used_again_begins_anew(account: Accounting, version: int, cut: int) -> None:
    conversation = talk(version)
    packets = opened(conversation)
    for number in range(5):
        message = mqtt.encode(Publish("a/b", bytes([number]) * 4000), Version.V3_1_1)
        packets += fragments(*conversation.say(CLIENT, message, size=9000))
    result = account(packets, cut=cut)
    assert published(result) == 5
    assert result["tcp"]["fragments_repeated"] == 0


@VERSIONS
def test_a_fragment_that_has_waited_too_long_belongs_to_no_later_datagram(tmp_path: Path, scene: Parts) -> None:
    opening, pieces = scene
    times = [0, 1, 2, 3, 4, *(LIFETIME + 6 + i for i in range(4))]
    packets = [*opening, pieces[1], *pieces]
    write_packets(tmp_path / "late", [Packet(t, p, len(p), 1) for t, p in zip(times, packets, strict=True)], 1)
    result = as_json(analyze(str(tmp_path / "late")))
    assert published(result) == 1
    assert (result["tcp"]["datagrams_given_up"], result["tcp"]["fragments_repeated"]) == (1, 0)
    assert result["bytes"]["by_purpose"]["undecoded"] == len(pieces[1])


@VERSIONS
def test_snapped_fragments_give_what_is_there_before_the_cut(account: Accounting, version: int) -> None:
    """Of 1,208 octets each the first 500 or so are there: TCP gets the first ones and knows how long the rest is."""
    conversation = talk(version)
    packets = opened(conversation)
    packets += fragments(*conversation.say(CLIENT, MESSAGE, size=9000))
    packets += conversation.say(CLIENT, mqtt.encode(Publish("a/b", b"x"), Version.V3_1_1))
    result = account(packets, cut=600)
    assert published(result) == 2
    assert result["streams"]["damaged"] == 1
    header = 14 + (20 if version == 4 else 48)
    assert result["bytes"]["by_layer"]["undecoded"] == 2 * (600 - header) + min(600, 4028 - 3 * SIZE + header) - header
    assert result["tcp"]["gaps"] == result["tcp"]["datagrams_given_up"] == 0


@VERSIONS
@pytest.mark.parametrize("memory", ["of an empty analyzer", "that has seen the octets"])
def test_what_the_snap_length_cut_off_is_equal_to_nothing_and_contradicts_nothing(
    tmp_path: Path, scene: Parts, memory: str
) -> None:
    """The copy's octets are compared with those that were captured, not with what stood in their place before."""
    opening, pieces = scene
    engine = Plain()
    if memory == "that has seen the octets":
        stamped(tmp_path / "whole", [*opening, *pieces])
        analyze(str(tmp_path / "whole"), engine=engine)
        engine.s = Plain().s
    cuts = [*opening, pieces[0], pieces[1][:600], *pieces[2:], pieces[1]]
    sizes = [*map(len, [*opening, *pieces]), len(pieces[1])]
    packets = [Packet(i * 1000, data, size, 1) for i, (data, size) in enumerate(zip(cuts, sizes, strict=True))]
    write_packets(tmp_path / "cut", packets, 1)
    result = as_json(analyze(str(tmp_path / "cut"), engine=engine))
    assert (result["tcp"]["fragments_repeated"], result["tcp"]["datagrams_given_up"]) == (1, 0)
    assert result["bytes"]["by_purpose"]["retransmission"] == len(pieces[1])


def test_fragments_out_of_order_among_segments_out_of_order(account: Accounting) -> None:
    conversation = talk(4)
    opening = opened(conversation)
    segments = conversation.say(CLIENT, MESSAGE * 3, size=3006)
    packets = [piece for number, segment in enumerate(segments) for piece in fragments(segment, number, size=600)]
    for seed in range(5):
        random.Random(seed).shuffle(packets)
        result = account([*opening, *packets])
        assert published(result) == 3
        assert result["tcp"]["datagrams_reassembled"] == len(segments)
        assert sum(row["packets"] for row in result["bytes"]["by_protocol"].values()) == result["packets"]


def test_waiting_datagrams_are_bounded(account: Accounting) -> None:
    conversation = talk(4)
    packets = opened(conversation)
    firsts = [fragments(*conversation.say(CLIENT, MESSAGE, size=9000), number)[0] for number in range(100)]
    result = account([*packets, *firsts])
    assert result["tcp"]["datagrams_given_up"] == 100
    assert result["tcp"]["datagrams_bound"] == 100 - w.DATAGRAMS
    assert result["bytes"]["by_purpose"]["undecoded"] == sum(map(len, firsts))


def test_fragments_of_a_datagram_are_bounded(account: Accounting) -> None:
    conversation = talk(4)
    packets = opened(conversation)
    pieces = fragments(*conversation.say(CLIENT, MESSAGE, size=9000), size=16)
    assert len(pieces) > w.PIECES + 1
    result = account([*packets, *pieces])
    assert result["tcp"]["datagrams_bound"] == 1
    assert result["bytes"]["by_purpose"]["undecoded"] == sum(map(len, pieces))


def test_the_largest_datagram(account: Accounting) -> None:
    conversation = talk(4)
    packets = opened(conversation)
    message = mqtt.encode(Publish("a/b", bytes(65_400)), Version.V3_1_1)
    packets += fragments(*conversation.say(CLIENT, message, size=65_495), size=1480)
    result = account(packets)
    assert published(result) == 1
    assert result["bytes"]["by_layer"]["payload"] == 65_400


def test_a_datagram_beyond_the_largest_is_given_up(account: Accounting) -> None:
    """A fragment that ends beyond 65,535 octets: once known as the ping of death."""
    conversation = talk(4)
    packets = opened(conversation)
    piece = bytearray(fragments(*conversation.say(CLIENT, MESSAGE, size=9000))[0])
    piece[20:22] = (0x1FFF).to_bytes(2)
    result = account([*packets, bytes(piece)])
    assert result["tcp"]["datagrams_given_up"] == 1
    assert result["bytes"]["by_purpose"]["undecoded"] == len(piece)


def test_fragments_of_other_protocols_are_other(account: Accounting) -> None:
    conversation = talk(4)
    pieces = [bytearray(piece) for piece in fragments(*conversation.say(CLIENT, MESSAGE, size=9000))]
    for piece in pieces:
        piece[14 + 9] = 17  # UDP
    result = account(map(bytes, pieces))
    assert result["bytes"]["by_purpose"]["other"] == sum(map(len, pieces))
    assert result["tcp"]["datagrams_given_up"] == 0


def test_an_extension_header_inside_the_fragments_is_passed(account: Accounting) -> None:
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
    from scapy.layers.l2 import Ether

    conversation = talk(6)
    packets = opened(conversation)
    inner = Ether(conversation.say(CLIENT, MESSAGE, size=9000)[0])[IPv6]
    whole = IPv6(src=inner.src, dst=inner.dst) / IPv6ExtHdrFragment(id=1) / IPv6ExtHdrDestOpt() / inner.payload
    pieces = [bytes(Ether(packets[0][:14]) / piece) for piece in fragment6(whole, 1280)]
    result = account([*packets, *pieces])
    assert published(result) == 1
    assert result["bytes"]["by_layer"]["ip"] == len(packets) * 40 + len(pieces) * 48 + 8


@VERSIONS
def test_the_slow_reading_sees_the_same(tmp_path: Path, scene: Parts) -> None:
    opening, pieces = scene
    stamped(tmp_path / "capture", [*opening, *pieces[::-1]])
    group = look([("capture", read_packets(tmp_path / "capture"))], []).messages["groups"]["mqtt qos0"]
    assert (group["published"], group["payload"], group["packets_per_hop"]) == (1, 4000, 4)
    assert group["bytes"] == sum(map(len, pieces))


def stamped(path: Path, packets: Iterable[bytes]) -> None:
    write_packets(path, [Packet(i * 1000, data, len(data), 1) for i, data in enumerate(packets)], 1)


@VERSIONS
@pytest.mark.parametrize("wanted", ["{client}:40000", ":1883", "{client}-{broker}:1883"])
def test_a_connection_is_selected_with_its_fragments(
    tmp_path: Path, version: int, wanted: str, scene: Parts
) -> None:
    opening, pieces = scene
    other = Conversation((HOSTS[version][0], 40001), (HOSTS[version][1], 1884))
    foreign = [*opened(other), *fragments(*other.say(CLIENT, MESSAGE, size=9000), 8)]
    stamped(tmp_path / "two", [*foreign, *opening, *pieces])
    client, broker = (f"[{host}]" if version == 6 else host for host in HOSTS[version])
    selection = Selection(connections=(connection(wanted.format(client=client, broker=broker)),))
    kept = [packet.data for packet in selection.packets(tmp_path / "two") if packet is not None]
    assert kept == [*opening, *pieces]


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
@pytest.mark.alike
@pytest.mark.parametrize("seed", range(8))
def test_the_compiled_walk_does_the_same(tmp_path: Path, seed: int) -> None:
    """Fragments lost, swapped, repeated, cut, overwritten, and cut anew with the same identification."""
    chance = random.Random(seed)
    packets: list[Packet] = []
    for version in (4, 6):
        conversation = talk(version)
        made = opened(conversation)
        for number in range(60):
            segment = conversation.say(CLIENT, MESSAGE, size=9000)[0]
            made += fragments(segment, number % 20, chance.choice((600, 1208, 2000)))
            if chance.random() < 0.1:
                made += fragments(segment, number % 20, 800)[1:]
        for data in made:
            luck = chance.random()
            if luck < 0.05:
                continue
            torn = bytearray(data[: chance.randrange(60, len(data))] if luck < 0.1 and len(data) > 60 else data)
            if luck > 0.93:
                torn[chance.randrange(12, 60) % len(torn)] = chance.randrange(256)
            packets += [Packet(len(packets) * 1000, bytes(torn), len(data), 1)] * chance.choice((1, 1, 1, 2))
    for _ in range(len(packets) // 4):
        i = chance.randrange(len(packets) - 1)
        packets[i], packets[i + 1] = packets[i + 1], packets[i]
    write_packets(tmp_path / "torn", packets, 1)
    plain, fast = (as_json(analyze(str(tmp_path / "torn"), engine=make())) for make in (Plain, compiled.Compiled))
    assert plain == fast
    assert plain["tcp"]["datagrams_reassembled"] > 0
    assert plain["tcp"]["datagrams_given_up"] > 0
