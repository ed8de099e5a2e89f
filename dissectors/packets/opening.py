"""From a packet to its TCP header, one packet at a time; a datagram that came in fragments is opened with its last one.

The walk does this in its kernels. Who reads single packets, uncompiled, asks an :class:`Opener`.
"""

from dataclasses import dataclass

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.fragments import gather, may_carry_tcp, open_datagram, show_headers
from mqproof.dissectors.packets.links import IPPROTO_TCP, IPV4, find_network, find_transport
from mqproof.dissectors.packets.octets import high, long
from mqproof.dissectors.packets.pcap import Packet
from mqproof.dissectors.packets.state import Octets, Words


@dataclass(frozen=True, slots=True)
class Fragment:
    """Where a fragment's octets stand, in its packet and its datagram; ``key``: what the datagram's fragments share."""

    key: bytes
    start: int
    end: int
    offset: int


@dataclass(frozen=True, slots=True)
class TcpPacket:
    """A TCP packet. ``source``, ``sink``: address and port in octets; ``octets``: the data as far as it was captured.

    ``length``: of the data, ``ip_octets``: of IP headers and what follows them, both as on the wire; ``packets``: more
    than one where it came in fragments.
    """

    source: bytes
    sink: bytes
    sequence: int
    flags: int
    octets: bytes
    length: int
    ip_octets: int
    packets: int


class Opener:
    """Finds TCP headers.

    Of the last packet: ``fragment``, where it was one that may be of TCP; ``is_whole``: it completed its datagram.
    """

    def __init__(self, s: Words | None = None, m: Octets | None = None) -> None:
        """``s`` and ``m``: the caller's own arrays, where other kernels go on with them."""
        self._counts = s is None
        self.s: Words = [0] * w.ROWS if s is None else s
        self._m = bytearray(w.M_DIRECTIONS) if m is None else m
        self.fragment: Fragment | None = None
        self.is_whole = False

    def open(self, packet: Packet) -> bytearray | None:
        """Return the packet, or its datagram if it is the last fragment, with a whole TCP header; None without one.

        The registers L3, L4, L4_END, ETHERTYPE say where in it things are, the H_ registers what its headers are.
        """
        s, buf = self.s, bytearray(packet.data)
        self.fragment, self.is_whole = None, False
        s[w.PACKETS] += self._counts  # which of the waiting datagrams is the oldest
        s[w.R_AT], s[w.R_CAPTURED], s[w.R_ORIGINAL] = 0, len(buf), packet.original
        s[w.R_TIME], s[w.R_LINKTYPE], s[w.L4] = packet.time, packet.linktype, -1
        s[w.H_PACKETS], s[w.H_OCTETS] = 1, len(buf)
        if not find_network(buf, 0, len(buf), packet.linktype, s):
            return None
        if find_transport(buf, len(buf), s):
            s[w.H_IP] = s[w.L4] - s[w.L3]
            whole = buf
        elif s[w.FRAGMENT] and may_carry_tcp(s):
            self.fragment = self._fragment(packet.data)
            datagram = gather(buf, 0, len(buf), s, self._m)
            self.is_whole = bool(datagram)
            if not datagram or not open_datagram(datagram, s, self._m):
                return None
            whole = self._datagram(datagram)
        else:
            return None
        at, stop = s[w.L4], min(len(whole), s[w.L4_END])
        if s[w.IP_PROTOCOL] != IPPROTO_TCP or stop - at < 20 or not at + 20 <= at + high(whole, at + 12) * 4 <= stop:
            return None
        return whole

    def tcp(self, packet: Packet) -> TcpPacket | None:
        """Return what is to know of a TCP packet, None for others (and for fragments but a datagram's last)."""
        data, s = self.open(packet), self.s
        if data is None:
            return None
        size = 4 if s[w.ETHERTYPE] == IPV4 else 16
        at, tcp = s[w.L3] + (12 if size == 4 else 8), s[w.L4]
        start = tcp + high(data, tcp + 12) * 4
        source, sink = (
            bytes(data[at + i * size : at + (i + 1) * size] + data[tcp + 2 * i : tcp + 2 * i + 2]) for i in (0, 1)
        )
        return TcpPacket(
            source, sink, long(data, tcp + 4), data[tcp + 13], bytes(data[start : max(start, s[w.L4_END])]),
            max(0, s[w.L4_END] - start), s[w.H_IP] + s[w.L4_END] - tcp, s[w.H_PACKETS],
        )  # fmt: skip

    def _fragment(self, data: bytes) -> Fragment:
        s = self.s
        at, end = (s[w.L3] + 12, s[w.L3] + 20) if s[w.ETHERTYPE] == IPV4 else (s[w.L3] + 8, s[w.L3] + 40)
        identification = s[w.FRAGMENT_ID].to_bytes(4)
        start, stop = s[w.L4], max(s[w.L4], min(len(data), s[w.L4_END]))
        return Fragment(data[at:end] + identification, start, stop, s[w.FRAGMENT_OFFSET])

    def _datagram(self, datagram: int) -> bytearray:
        """Return a whole datagram as one packet without a link header; the registers say where things are in it."""
        s = self.s
        show_headers(datagram, s)
        begin = s[w.L3]
        for register in (w.L3, w.L4, w.L4_END):
            s[register] -= begin
        return self._m[begin : s[w.DATAGRAM_END]]
