"""Kernel: from the start of a packet to the TCP header.

Links: Ethernet with any stack of VLAN tags, Linux cooked v1 and v2, BSD null and loopback, raw IP. IPv4 with options,
IPv6 with extension headers. Each function leaves offsets in registers and returns 1, or 0 where the packet cannot be
followed further. A fragment cannot be, by itself: the FRAGMENT registers are set, for ``fragments`` to go on with.
"""

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.octets import high, long, short
from mqproof.dissectors.packets.state import Octets, Words

DLT_NULL = 0
DLT_ETHERNET = 1
DLT_RAW_BSD = 12
DLT_RAW_OPENBSD = 14
DLT_RAW = 101
DLT_LOOP = 108
DLT_LINUX_SLL = 113
DLT_IPV4 = 228
DLT_IPV6 = 229
DLT_LINUX_SLL2 = 276

IPV4 = 0x0800
IPV6 = 0x86DD
IPPROTO_TCP = 6


def find_network(buf: Octets, at: int, end: int, linktype: int, s: Words) -> int:
    """Pass the link header: L3 and ETHERTYPE are set."""
    kind = 0
    if linktype == DLT_ETHERNET:
        if end - at < 14:
            return 0
        kind = short(buf, at + 12)
        at += 14
        while kind in (0x8100, 0x88A8, 0x9100) and end - at >= 4:
            kind = short(buf, at + 2)
            at += 4
    elif linktype == DLT_LINUX_SLL:
        if end - at < 16:
            return 0
        kind = short(buf, at + 14)
        at += 16
    elif linktype == DLT_LINUX_SLL2:
        if end - at < 20:
            return 0
        kind = short(buf, at)
        at += 20
    elif linktype in (DLT_NULL, DLT_LOOP):
        if end - at < 5:
            return 0
        at += 4
        kind = by_version(high(buf, at))
    elif linktype in (DLT_RAW, DLT_RAW_BSD, DLT_RAW_OPENBSD, DLT_IPV4, DLT_IPV6):
        if end - at < 1:
            return 0
        kind = by_version(high(buf, at))
    else:
        return 0
    s[w.L3] = at
    s[w.ETHERTYPE] = kind
    return 1 if kind in (IPV4, IPV6) else 0


def by_version(version: int) -> int:
    """Return the EtherType of an IP version; the address families of BSD systems disagree, the version does not."""
    if version == 4:
        return IPV4
    return IPV6 if version == 6 else 0


def find_transport(buf: Octets, end: int, s: Words) -> int:
    """Pass the IP header: L4, L4_END (by the IP length, possibly beyond ``end``) and IP_PROTOCOL are set."""
    s[w.FRAGMENT] = 0
    if s[w.ETHERTYPE] == IPV4:
        return find_transport_4(buf, end, s)
    return find_transport_6(buf, end, s)


def find_transport_4(buf: Octets, end: int, s: Words) -> int:
    """RFC 791 section 3.1. A total length of 0 is segmentation offload: the packet is as long as it is."""
    at = s[w.L3]
    if end - at < 20 or high(buf, at) != 4:
        return 0
    header = (buf[at] & 15) * 4
    total = short(buf, at + 2)
    if total == 0:
        total = s[w.R_ORIGINAL] - (at - s[w.R_AT])
    if header < 20 or total < header or end - at < header:
        return 0
    s[w.L4] = at + header
    s[w.L4_END] = at + total
    s[w.IP_PROTOCOL] = buf[at + 9]
    if buf[at + 6] & 0x3F or buf[at + 7]:  # more fragments, or not the first
        s[w.FRAGMENT] = 1
        s[w.FRAGMENT_ID] = short(buf, at + 4)
        s[w.FRAGMENT_OFFSET] = (short(buf, at + 6) & 0x1FFF) * 8
        s[w.FRAGMENT_MORE] = short(buf, at + 6) & 0x2000
        return 0
    return 1


def find_transport_6(buf: Octets, end: int, s: Words) -> int:
    """RFC 8200 sections 3 and 4: hop-by-hop, routing, destination options and authentication are passed."""
    at = s[w.L3]
    if end - at < 40 or high(buf, at) != 6:
        return 0
    length = short(buf, at + 4)
    s[w.L4_END] = at + 40 + length if length else s[w.R_AT] + s[w.R_ORIGINAL]
    kind = buf[at + 6] + 0
    at += 40
    while kind in (0, 43, 60, 44, 51):
        if end - at < 8:
            return 0
        if kind == 44:
            if buf[at + 2] or buf[at + 3] & 0xF9:
                s[w.FRAGMENT] = 1
                s[w.FRAGMENT_ID] = long(buf, at + 4)
                s[w.FRAGMENT_OFFSET] = short(buf, at + 2) & 0xFFF8
                s[w.FRAGMENT_MORE] = buf[at + 3] & 1
                s[w.IP_PROTOCOL] = buf[at]
                s[w.L4] = at + 8
                return 0
            size = 8
        elif kind == 51:
            size = (buf[at + 1] + 2) * 4
        else:
            size = (buf[at + 1] + 1) * 8
        kind = buf[at] + 0
        at += size
    s[w.L4] = min(at, end)  # an extension header may claim more than the packet has
    s[w.IP_PROTOCOL] = kind
    return 1 if at <= end and at <= s[w.L4_END] else 0
