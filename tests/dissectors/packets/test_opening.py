"""Single packets opened up to their TCP header, fragments included."""

from collections.abc import Iterable

import pytest
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.craft import ACK, CLIENT, PSH, Conversation, fragments
from mqproof.dissectors.packets.opening import Opener, TcpPacket
from mqproof.dissectors.packets.pcap import Packet

HOSTS = {4: ("10.0.0.1", "10.0.0.2"), 6: ("2001:db8::1", "2001:db8::2")}
OCTETS = bytes(range(250)) * 8
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def segment(version: int, octets: bytes = OCTETS) -> bytes:
    client, broker = HOSTS[version]
    return Conversation((client, 40000), (broker, 1883)).packet(CLIENT, PSH | ACK, octets)


def opened(packets: Iterable[bytes], cut: int = 9000) -> list[TcpPacket | None]:
    opener = Opener()
    return [opener.tcp(Packet(i, data[:cut], len(data), 1)) for i, data in enumerate(packets)]


@VERSIONS
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_segment_in_fragments_is_the_segment(version: int, order: tuple[int, ...]) -> None:
    whole = segment(version)
    pieces = fragments(whole, 7, 800)
    *before, found = opened(pieces[i] for i in order)
    (plain,) = opened([whole])
    assert before == [None, None]
    assert plain is not None
    assert found is not None
    assert (found.octets, found.source, found.sink) == (OCTETS, plain.source, plain.sink)
    assert (found.sequence, found.flags, found.length) == (plain.sequence, plain.flags, len(OCTETS))
    assert (plain.packets, plain.ip_octets) == (1, len(whole) - 14)
    assert (found.packets, found.ip_octets) == (3, sum(map(len, pieces)) - 3 * 14)


@VERSIONS
def test_what_the_snap_length_cut_is_known_by_its_length(version: int) -> None:
    (found,) = opened([segment(version)], cut=500)
    assert found is not None
    header = 14 + (20 if version == 4 else 40) + 20
    assert (found.octets, found.length) == (OCTETS[: 500 - header], len(OCTETS))
    assert found.ip_octets == len(segment(version)) - 14


@VERSIONS
def test_many_unfinished_datagrams_do_not_hold_up_others(version: int) -> None:
    firsts = [fragments(segment(version), number, 800)[0] for number in range(3 * w.DATAGRAMS)]
    found = opened([*firsts, *fragments(segment(version), 9999, 800)])
    assert [one is not None for one in found] == [False] * (len(firsts) + 2) + [True]


@pytest.mark.parametrize("data", [b"", bytes(13), segment(4)[:40], segment(6)[:60]])
def test_what_has_no_whole_tcp_header_is_none(data: bytes) -> None:
    assert opened([data]) == [None]
