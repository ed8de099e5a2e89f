"""Golden captures made of others: the same conversation as another network would have carried it."""

from mqproof.dissectors.packets.pcap import Packet


def swapped(packets: list[Packet]) -> list[Packet]:
    """Swap every fifth packet with data with the next one of its direction, and repeat every seventh."""
    result: list[Packet] = list(packets)
    data = [i for i, packet in enumerate(packets) if len(packet.data) > 66]
    for first in data[20::5]:
        later = [i for i in data if i > first and result[i].data[34:38] == result[first].data[34:38]]
        if later and later[0] - first <= 2:
            result[first], result[later[0]] = result[later[0]], result[first]
    repeated = []
    for number, packet in enumerate(result):
        repeated += [packet, packet] if number in data[7::7] else [packet]
    return repeated


def tagged(packets: list[Packet]) -> list[Packet]:
    """Two VLAN tags (QinQ) after the addresses."""
    tags = b"\x88\xa8\x00\x05\x81\x00\x00\x07"
    return [Packet(p.time, p.data[:12] + tags + p.data[12:], p.original + 8, p.linktype) for p in packets]
