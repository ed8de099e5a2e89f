"""Kernel: IP datagrams that came in fragments are put together (RFC 791 section 3.2, RFC 8200 section 4.5).

What waits is bounded: so many datagrams, of so many fragments each; the oldest gives way. A fragment that is there
already is a copy, booked as a retransmission, also when it comes after its datagram was whole. One that overlaps others
in part, or contradicts them, makes the datagram worthless: RFC 8200 section 4.5 says so, and Linux treats IPv4 in the
same way. What is never whole is booked as undecoded.
"""

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.links import IPPROTO_TCP, IPV4, find_transport
from mqproof.dissectors.packets.octets import high, long
from mqproof.dissectors.packets.state import Octets, Words

LIFETIME = 30_000_000_000  # ns, as in Linux; RFC 791 says 15 s, RFC 8200 60 s; IPv4 identifications soon come again
EXTENSIONS = (43, 51, 60)  # routing, authentication, destination options: TCP may follow them
NEW = 0
COPY = 1
CONTRADICTION = 2
CLASS_UNDECODED = w.G_OTHER * w.PURPOSE_COUNT + w.P_UNDECODED
CLASS_REPEATED = w.G_OTHER * w.PURPOSE_COUNT + w.P_RETRANSMISSION


def may_carry_tcp(s: Words) -> int:
    """Return whether the fragment that find_transport met can belong to a TCP segment."""
    kind = s[w.IP_PROTOCOL]
    return 1 if kind == IPPROTO_TCP or (s[w.ETHERTYPE] != IPV4 and kind in EXTENSIONS) else 0


def gather(buf: Octets, at: int, end: int, s: Words, m: Octets) -> int:
    """Keep the fragment in the packet at ``at``. Returns the record of its datagram if that is whole now, else 0."""
    length = s[w.L4_END] - s[w.L4]
    have = max(0, min(end, s[w.L4_END]) - s[w.L4])
    g = find_datagram(buf, s)
    if g != 0 and s[g + w.G_STATE] == w.G_WHOLE and not same_octets(buf, have, g, s, m):
        forget(g, s)  # the identification is in use again
        g = 0
    if g == 0:
        g = new_datagram(buf, s)
    verdict = compare(length, g, s)
    if verdict == COPY or s[g + w.G_STATE] == w.G_WHOLE:
        book_copy(at, end, have, s[g + w.G_CLASS], s)
        return 0
    s[g + w.G_LAST] = s[w.PACKETS]
    s[g + w.G_LINK] += s[w.L3] - at
    s[g + w.G_IP] += s[w.L4] - s[w.L3]
    s[g + w.G_PADDING] += end - s[w.L4] - have
    s[g + w.G_HAVE] += have
    s[g + w.G_PACKETS] += 1
    if verdict == CONTRADICTION or s[g + w.G_COUNT] == w.PIECES:
        s[w.DATAGRAMS_BOUND] += 1 if verdict == NEW else 0
        write_off(g, s)
        return 0
    put_piece(buf, length, have, g, s, m)
    return g if s[g + w.G_LENGTH] == s[g + w.G_TOTAL] else 0


def find_datagram(buf: Octets, s: Words) -> int:
    """Return the record of the fragment's datagram, 0 where there is none; one that has waited too long is given up."""
    for i in range(w.DATAGRAMS):
        g = w.DATAGRAM_TABLE + i * w.DATAGRAM_WORDS
        if s[g + w.G_STATE] != w.G_FREE and s[g + w.G_ID] == s[w.FRAGMENT_ID] and same_datagram(buf, g, s):
            if s[w.R_TIME] - s[g + w.G_TIME] <= LIFETIME:
                return g
            if s[g + w.G_STATE] == w.G_GATHERING:
                write_off(g, s)
            forget(g, s)
            return 0
    return 0


def same_datagram(buf: Octets, g: int, s: Words) -> int:
    """Return whether the fragment has the addresses (and the protocol, in IPv4) of the datagram ``g``."""
    if s[g + w.G_ETHERTYPE] != s[w.ETHERTYPE]:
        return 0
    if s[w.ETHERTYPE] == IPV4:
        if s[g + w.G_PROTOCOL] != s[w.IP_PROTOCOL]:
            return 0
        first, words = s[w.L3] + 12, 2
    else:
        first, words = s[w.L3] + 8, 8
    for i in range(words):
        if s[g + w.G_ADDRESSES + i] != long(buf, first + 4 * i):
            return 0
    return 1


def same_octets(buf: Octets, have: int, g: int, s: Words, m: Octets) -> int:
    """Return whether no octet of the fragment differs from what was captured in its place of the whole datagram."""
    start = s[w.FRAGMENT_OFFSET]
    if start + have > s[g + w.G_TOTAL]:
        return 0
    base = payload_of(g)
    for i in range(s[g + w.G_COUNT]):
        piece = g + w.G_PIECES + i * w.PIECE_WORDS
        begins = max(start, s[piece + w.PIECE_START])
        ends = min(start + have, s[piece + w.PIECE_START] + s[piece + w.PIECE_HAVE])  # the rest was cut off: unknown
        for at in range(begins, ends):
            if m[base + at] != buf[s[w.L4] + at - start]:
                return 0
    return 1


def new_datagram(buf: Octets, s: Words) -> int:
    """Return a record for the fragment's datagram: a free one, else the oldest of the whole, else of all."""
    g = w.DATAGRAM_TABLE
    for i in range(1, w.DATAGRAMS):
        other = w.DATAGRAM_TABLE + i * w.DATAGRAM_WORDS
        if (s[other + w.G_STATE], s[other + w.G_LAST]) < (s[g + w.G_STATE], s[g + w.G_LAST]):
            g = other
    if s[g + w.G_STATE] == w.G_GATHERING:
        s[w.DATAGRAMS_BOUND] += 1
        write_off(g, s)
    forget(g, s)
    s[g + w.G_STATE] = w.G_GATHERING
    s[g + w.G_ETHERTYPE] = s[w.ETHERTYPE]
    s[g + w.G_ID] = s[w.FRAGMENT_ID]
    s[g + w.G_PROTOCOL] = s[w.IP_PROTOCOL]
    s[g + w.G_TIME] = s[w.R_TIME]
    s[g + w.G_CLASS] = CLASS_REPEATED
    s[g + w.G_TOTAL] = -1
    first = s[w.L3] + (12 if s[w.ETHERTYPE] == IPV4 else 8)
    for i in range(2 if s[w.ETHERTYPE] == IPV4 else 8):
        s[g + w.G_ADDRESSES + i] = long(buf, first + 4 * i)
    return g


def compare(length: int, g: int, s: Words) -> int:
    """Return whether a fragment of ``length`` octets is NEW to its datagram, a COPY, or a CONTRADICTION."""
    start = s[w.FRAGMENT_OFFSET]
    stop = start + length
    limit = 65515 if s[w.ETHERTYPE] == IPV4 else 65535  # RFC 791 and RFC 8200: a length of 16 bits
    if length <= 0 or stop > limit or (s[w.FRAGMENT_MORE] and length & 7):
        return CONTRADICTION
    total = s[g + w.G_TOTAL]
    known = 0
    for i in range(s[g + w.G_COUNT]):
        piece = g + w.G_PIECES + i * w.PIECE_WORDS
        begins = s[piece + w.PIECE_START]
        ends = begins + s[piece + w.PIECE_LENGTH]
        known += max(0, min(stop, ends) - max(start, begins))
        if s[w.FRAGMENT_MORE] == 0 and ends > stop:
            return CONTRADICTION
    if total >= 0 and (stop > total or (s[w.FRAGMENT_MORE] == 0 and stop != total)):
        return CONTRADICTION
    if known == 0:
        return NEW
    return COPY if known == length else CONTRADICTION


def put_piece(buf: Octets, length: int, have: int, g: int, s: Words, m: Octets) -> None:
    """Copy a fragment's octets to their place in the datagram."""
    start = s[w.FRAGMENT_OFFSET]
    if s[w.FRAGMENT_MORE] == 0:
        s[g + w.G_TOTAL] = start + length
    if start == 0:
        s[g + w.G_PROTOCOL] = s[w.IP_PROTOCOL]  # RFC 8200 section 4.5: the first fragment's counts
    piece = g + w.G_PIECES + s[g + w.G_COUNT] * w.PIECE_WORDS
    s[piece + w.PIECE_START] = start
    s[piece + w.PIECE_LENGTH] = length
    s[piece + w.PIECE_HAVE] = have
    s[g + w.G_COUNT] += 1
    s[g + w.G_LENGTH] += length
    base = payload_of(g) + start
    for i in range(have):
        m[base + i] = buf[s[w.L4] + i]


def payload_of(g: int) -> int:
    """Return where a datagram's payload stands in ``m``; there is room for a header before it."""
    return w.M_DATAGRAMS + (g - w.DATAGRAM_TABLE) // w.DATAGRAM_WORDS * w.DATAGRAM_OCTETS + w.DATAGRAM_HEADER


def unbroken(g: int, s: Words) -> int:
    """Return how many octets are there from the whole datagram's first one on, before the snap length cut any off."""
    reach = 0
    for _ in range(s[g + w.G_COUNT]):
        for i in range(s[g + w.G_COUNT]):
            piece = g + w.G_PIECES + i * w.PIECE_WORDS
            if s[piece + w.PIECE_START] == reach:
                if s[piece + w.PIECE_HAVE] < s[piece + w.PIECE_LENGTH]:
                    return reach + s[piece + w.PIECE_HAVE]
                reach += s[piece + w.PIECE_LENGTH]
    return reach


def open_datagram(g: int, s: Words, m: Octets) -> int:
    """Make one packet of a whole datagram, in ``m`` from L3 up to DATAGRAM_END; the L registers are set.

    Returns the size of its TCP header, 0 where there is none, or not whole: then the datagram is booked and forgotten.
    """
    write_header(g, s, m)
    reach = s[g + w.G_HAVE]
    if reach != s[g + w.G_TOTAL]:
        reach = unbroken(g, s)
    end = payload_of(g) + reach
    s[w.DATAGRAM_END] = end
    header = 0
    if find_transport(m, end, s) and s[w.IP_PROTOCOL] == IPPROTO_TCP and end - s[w.L4] >= 20:
        header = high(m, s[w.L4] + 12) * 4
    if header < 20 or s[w.L4] + header > end:
        write_off(g, s)
        return 0
    s[g + w.G_STATE] = w.G_WHOLE
    s[w.REASSEMBLED] += 1
    s[w.ACC + CLASS_UNDECODED * w.LAYER_COUNT + w.UNDECODED] += s[g + w.G_HAVE] - reach
    return header


def show_headers(g: int, s: Words) -> None:
    """Set the H registers to what all packets of an open datagram have beside TCP."""
    s[w.H_LINK] = s[g + w.G_LINK]
    s[w.H_IP] = s[g + w.G_IP] + s[w.L4] - payload_of(g)
    s[w.H_PADDING] = s[g + w.G_PADDING]
    s[w.H_PACKETS] = s[g + w.G_PACKETS]
    s[w.H_OCTETS] = s[g + w.G_LINK] + s[g + w.G_IP] + s[g + w.G_PADDING] + s[g + w.G_HAVE]


def write_header(g: int, s: Words, m: Octets) -> None:
    """Write an IP header without options before a whole datagram's payload; L3 is set."""
    total = s[g + w.G_TOTAL]
    if s[g + w.G_ETHERTYPE] == IPV4:
        at = payload_of(g) - 20
        m[at] = 0x45
        total += 20
        length, protocol, addresses, words = at + 2, at + 9, at + 12, 2
        m[at + 6] = 0
        m[at + 7] = 0
    else:
        at = payload_of(g) - 40
        m[at] = 0x60
        length, protocol, addresses, words = at + 4, at + 6, at + 8, 8
    m[length] = total >> 8
    m[length + 1] = total & 255
    m[protocol] = s[g + w.G_PROTOCOL]
    for i in range(words):
        for k in range(4):
            m[addresses + 4 * i + k] = s[g + w.G_ADDRESSES + i] >> (24 - 8 * k) & 255
    s[w.L3] = at


def book_copy(at: int, end: int, have: int, kind: int, s: Words) -> None:
    """Book a fragment that brings nothing new."""
    s[w.FRAGMENTS_REPEATED] += 1
    s[w.CLASS_PACKETS + kind] += 1
    row = w.ACC + kind * w.LAYER_COUNT
    s[row + w.LINK] += s[w.L3] - at
    s[row + w.IP] += s[w.L4] - s[w.L3]
    s[row + w.PADDING] += end - s[w.L4] - have
    s[row + w.REPEATED] += have


def write_off(g: int, s: Words) -> None:
    """Book a datagram that nothing can be made of, and forget it."""
    s[w.DATAGRAMS_GIVEN_UP] += 1
    s[w.CLASS_PACKETS + CLASS_UNDECODED] += s[g + w.G_PACKETS]
    row = w.ACC + CLASS_UNDECODED * w.LAYER_COUNT
    s[row + w.LINK] += s[g + w.G_LINK]
    s[row + w.IP] += s[g + w.G_IP]
    s[row + w.PADDING] += s[g + w.G_PADDING]
    s[row + w.UNDECODED] += s[g + w.G_HAVE]
    forget(g, s)


def forget(g: int, s: Words) -> None:
    """Free a datagram's record."""
    for i in range(w.G_PIECES):
        s[g + i] = 0


def write_off_all(s: Words) -> None:
    """The capture ends: give up what is not whole."""
    for i in range(w.DATAGRAMS):
        g = w.DATAGRAM_TABLE + i * w.DATAGRAM_WORDS
        if s[g + w.G_STATE] == w.G_GATHERING:
            write_off(g, s)
