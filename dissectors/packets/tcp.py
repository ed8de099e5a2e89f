"""Kernel: TCP. Finds the connection, puts segments in order, and tells what to do next.

The walk asks :func:`segment` once per packet and :func:`proceed` until DONE; the answers are orders: FEED (octets of
the packet are next in the stream), FEED_EARLY (a segment that came early is next), SKIP (the capture lacks octets).
RFC 9293. Sequence numbers are compared modulo 2**32.
"""

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.booking import book, charge, group_of, hold_headers, settle
from mqproof.dissectors.packets.links import IPV4
from mqproof.dissectors.packets.octets import high, long, short
from mqproof.dissectors.packets.state import Octets, Words

DONE = 0
FEED = 1
FEED_EARLY = 2
SKIP = 3

FIN = 1
SYN = 2
RST = 4
ACK = 16
MASK = 0xFFFFFFFF
FAR = 1 << 30  # a jump that no window allows: another stream, or a capture with a long hole
PATIENCE = 8  # packets that a hole may still be filled by after the receiver has acknowledged it


def distance(later: int, earlier: int) -> int:
    """Return ``later - earlier`` as a signed distance of sequence numbers."""
    delta = (later - earlier) & MASK
    return delta - (1 << 32) if delta & 0x80000000 else delta


def find_connection(buf: Octets, s: Words) -> int:
    """Return the packet's connection, a new one if need be (there is room: the walk sees to it); SIDE is set."""
    at = s[w.L4]
    if s[w.ETHERTYPE] == IPV4:
        first, words = s[w.L3] + 12, 1
    else:
        first, words = s[w.L3] + 8, 4
    second = first + 4 * words
    port_a = short(buf, at)
    port_b = short(buf, at + 2)
    mixed = port_a + port_b
    for i in range(words):
        mixed += long(buf, first + 4 * i) + long(buf, second + 4 * i)
    hashed = (mixed * 40503 >> 6) & (w.HASH_SIZE - 1)
    c = s[w.HASH + hashed]
    while c != 0:
        if s[c + w.C_FAMILY] == words:
            side = same_ends(buf, first, second, port_a, port_b, words, c, s)
            if side >= 0:
                s[w.SIDE] = side
                return c
        c = s[c + w.C_NEXT]
    s[w.SIDE] = 0
    return new_connection(buf, first, second, port_a, port_b, words, hashed, s)


def same_ends(
    buf: Octets, first: int, second: int, port_a: int, port_b: int, words: int, c: int, s: Words
) -> int:
    """Return 0 for a packet that goes as the connection's first one did, 1 for one that goes back, else -1."""
    if s[c + w.C_PORT_A] == port_a and s[c + w.C_PORT_B] == port_b:
        same = 1
        for i in range(words):
            if s[c + w.C_A0 + i] != long(buf, first + 4 * i) or s[c + w.C_B0 + i] != long(buf, second + 4 * i):
                same = 0
        if same:
            return 0
    if s[c + w.C_PORT_A] == port_b and s[c + w.C_PORT_B] == port_a:
        for i in range(words):
            if s[c + w.C_A0 + i] != long(buf, second + 4 * i) or s[c + w.C_B0 + i] != long(buf, first + 4 * i):
                return -1
        return 1
    return -1


def new_connection(
    buf: Octets, first: int, second: int, port_a: int, port_b: int, words: int, hashed: int, s: Words
) -> int:
    """Take a free record and put it into its chain."""
    c = s[w.CONN_FREE]
    if c != 0:
        s[w.CONN_FREE] = s[c + w.C_NEXT]
    else:
        c = w.CONN_TABLE + s[w.CONNS] * w.CONN_WORDS
        s[w.CONNS] += 1
    clear(s, c)
    for i in range(words):
        s[c + w.C_A0 + i] = long(buf, first + 4 * i)
        s[c + w.C_B0 + i] = long(buf, second + 4 * i)
    s[c + w.C_FAMILY] = words
    s[c + w.C_PORT_A] = port_a
    s[c + w.C_PORT_B] = port_b
    s[c + w.C_USED] = 1
    s[c + w.C_HASH] = hashed
    s[c + w.C_NEXT] = s[w.HASH + hashed]
    s[w.HASH + hashed] = c
    return c


def clear(s: Words, c: int) -> None:
    """Make a record new, but for who speaks to whom."""
    for i in range(w.C_PROTOCOL, w.CONN_WORDS):
        s[c + i] = 0
    s[w.CONNS_SEEN] += 1
    s[c + w.C_NUMBER] = s[w.CONNS_SEEN]
    s[c + w.C_CLIENT] = -1
    s[c + w.C_FIRST_TIME] = s[w.R_TIME]
    scratch = w.M_DIRECTIONS + (c - w.CONN_TABLE) // w.CONN_WORDS * 2 * w.DIRECTION_OCTETS
    for side in range(2):
        d = direction(c, side)
        s[d + w.D_SCRATCH] = scratch + side * w.DIRECTION_OCTETS
        s[d + w.D_KEY_AT] = s[d + w.D_SCRATCH]
        s[d + w.D_LAST_CLASS] = w.NO_CLASS


def direction(c: int, side: int) -> int:
    """Return the record of a direction: side 0 is the sender of the connection's first packet."""
    return c + w.CONN_HEAD + side * w.DIRECTION_WORDS


def reborn(buf: Octets, c: int, s: Words) -> int:
    """Return whether this SYN begins a new connection between the same ends and ports."""
    at = s[w.L4]
    if buf[at + 13] & (SYN | ACK) != SYN:
        return 0
    d = direction(c, s[w.SIDE])
    known = s[d + w.D_KNOWN] or s[direction(c, 1 - s[w.SIDE]) + w.D_KNOWN]
    return 1 if known and s[d + w.D_NEXT] != (long(buf, at + 4) + 1) & MASK else 0


def segment(buf: Octets, end: int, c: int, s: Words, m: Octets) -> int:
    """Take the packet's segment; its header is whole. Returns the first order."""
    at = s[w.L4]
    flags = buf[at + 13] + 0
    header = high(buf, at + 12) * 4
    d = direction(c, s[w.SIDE])
    other = direction(c, 1 - s[w.SIDE])
    length = max(0, s[w.L4_END] - at - header)
    have = max(0, min(end, s[w.L4_END]) - at - header)
    seq = long(buf, at + 4)
    s[w.F_CONN] = c
    s[w.F_DIRECTION] = d
    s[w.F_MISSING] = 0
    s[w.BEST] = w.PURPOSE_COUNT
    s[w.H_HELD] = s[w.H_PACKETS]
    if flags & ACK:
        s[other + w.D_ACKED] = long(buf, at + 8)
    if flags & SYN:
        seq = (seq + 1) & MASK
        started(seq, flags, c, d, s)
    if flags & (FIN | RST):
        s[c + w.C_CLOSED] |= 3 if flags & RST else 1 << s[w.SIDE]
    if length == 0:
        return no_data(flags, seq, c, d, other, s)
    s[c + w.C_DATA] = 1
    return data(buf, at + header, have, length - have, seq, c, d, s, m)


def started(seq: int, flags: int, c: int, d: int, s: Words) -> None:
    """A SYN: the direction's first octet is known."""
    if s[d + w.D_KNOWN]:
        return
    s[d + w.D_KNOWN] = 1
    s[d + w.D_STARTED] = 1
    s[d + w.D_NEXT] = seq
    s[c + w.C_CLIENT] = 1 - s[w.SIDE] if flags & ACK else s[w.SIDE]


def no_data(flags: int, seq: int, c: int, d: int, other: int, s: Words) -> int:
    """Book a packet without data; a hole in the other direction may have become hopeless by what it acknowledges."""
    if flags & (SYN | FIN | RST) or s[c + w.C_DATA] == 0 or s[c + w.C_CLOSED] == 3:
        if s[c + w.C_PROTOCOL] in (w.UNKNOWN, w.HTTP):
            hold_headers(s, c + w.C_LINK)
        else:
            charge(s, group_of(s, c) * w.PURPOSE_COUNT + w.P_SETUP)
    elif s[d + w.D_KNOWN] and seq == (s[d + w.D_NEXT] - 1) & MASK:
        charge(s, group_of(s, c) * w.PURPOSE_COUNT + w.P_KEEP_ALIVE)
    else:
        last = s[other + w.D_LAST_CLASS]
        group = group_of(s, c) if last < 0 else last // w.PURPOSE_COUNT
        charge(s, group * w.PURPOSE_COUNT + w.P_BARE_ACK)
    return DONE


def data(
    buf: Octets, at: int, have: int, missing: int, seq: int, c: int, d: int, s: Words, m: Octets
) -> int:
    """Order the segment's octets: now, already seen, or early."""
    if not s[d + w.D_KNOWN]:
        s[d + w.D_KNOWN] = 1
        s[d + w.D_NEXT] = seq
        s[w.MID_STREAM] += 1
    delta = distance(seq, s[d + w.D_NEXT])
    if delta > FAR or delta < -FAR:
        s[w.GAPS] += 1
        s[d + w.D_FLUSH] = 1
        if s[d + w.D_SLOTS] == 0:
            s[d + w.D_NEXT] = seq
            s[d + w.D_LOST] = 1
            delta = 0
    if delta > 0:
        return early(buf, at, have, missing, seq, d, s, m)
    if delta + have + missing <= 0:
        return repeated(have, delta, have + missing, c, d, s)
    if delta < 0:
        again = min(-delta, have)
        s[w.RETRANSMITTED] += 1
        s[w.RETRANSMITTED_OCTETS] += again
        s[w.ACC + (group_of(s, c) * w.PURPOSE_COUNT + w.P_RETRANSMISSION) * w.LAYER_COUNT + w.REPEATED] += again
        missing -= -delta - again
        at += again
        have -= again
    if s[d + w.D_SLOTS] != 0:
        s[w.OUT_OF_ORDER] += 1
    s[w.F_AT] = at
    s[w.F_END] = at + have
    s[w.F_MISSING] = missing
    s[d + w.D_NEXT] = (s[d + w.D_NEXT] + have) & MASK
    return FEED


def repeated(have: int, delta: int, length: int, c: int, d: int, s: Words) -> int:
    """Book a segment that brings nothing new: a retransmission, or a keep-alive probe with one octet."""
    last = s[d + w.D_LAST_CLASS]
    group = group_of(s, c) if last < 0 else last // w.PURPOSE_COUNT
    purpose = w.P_KEEP_ALIVE if length == 1 and delta == -1 else w.P_RETRANSMISSION
    if purpose == w.P_RETRANSMISSION:
        s[w.RETRANSMITTED] += 1
        s[w.RETRANSMITTED_OCTETS] += have
    kind = group * w.PURPOSE_COUNT + purpose
    book(s, kind, w.REPEATED, have)
    charge(s, kind)
    return proceed(s, d)


def early(buf: Octets, at: int, have: int, missing: int, seq: int, d: int, s: Words, m: Octets) -> int:
    """Keep a segment that came before its time; with no room left, the hole before it is given up."""
    pieces = max(1, (have + w.SLOT_OCTETS - 1) // w.SLOT_OCTETS)
    room = w.SLOTS - s[w.SLOTS_USED]
    if s[d + w.D_SLOT_COUNT] + pieces > w.SLOTS_PER_DIRECTION or pieces > room:
        s[w.STREAMS_BOUND] += 1
        if s[d + w.D_SLOTS] == 0 or distance(s[s[d + w.D_SLOTS] + w.SLOT_SEQ], seq) > 0:
            return jump(at, have, missing, seq, d, s)
        s[d + w.D_FLUSH] = 1
        if pieces > room:  # the pool is used by others: this segment is lost to the stream
            s[w.BEST] = w.P_UNDECODED
            s[w.BEST_CLASS] = w.P_UNDECODED
            s[w.ACC + w.P_UNDECODED * w.LAYER_COUNT + w.UNDECODED] += have
            charge(s, w.P_UNDECODED)
            return proceed(s, d)
    for i in range(pieces):
        offset = i * w.SLOT_OCTETS
        size = min(w.SLOT_OCTETS, have - offset)
        put_slot(buf, at + offset, size, missing if i == pieces - 1 else 0, (seq + offset) & MASK, d, s, m)
    s[d + w.D_WAITED] += 1
    if s[d + w.D_WAITED] > PATIENCE and distance(s[d + w.D_ACKED], s[s[d + w.D_SLOTS] + w.SLOT_SEQ]) >= 0:
        s[d + w.D_FLUSH] = 1
    return proceed(s, d)


def jump(at: int, have: int, missing: int, seq: int, d: int, s: Words) -> int:
    """Give up the hole before this segment and go on with it."""
    lost = distance(seq, s[d + w.D_NEXT])
    s[w.GAPS] += 1
    s[w.LOST] += lost
    s[d + w.D_LOST] = lost
    s[d + w.D_NEXT] = (seq + have) & MASK
    s[w.F_AT] = at
    s[w.F_END] = at + have
    s[w.F_MISSING] = missing
    return FEED


def put_slot(buf: Octets, at: int, size: int, missing: int, seq: int, d: int, s: Words, m: Octets) -> None:
    """Copy up to SLOT_OCTETS into a slot, in its place in the direction's list; the first takes the headers along."""
    slot = s[w.SLOT_FREE]
    if slot != 0:
        s[w.SLOT_FREE] = s[slot + w.SLOT_NEXT]
    else:
        slot = w.SLOT_TABLE + s[w.SLOTS_FRESH] * w.SLOT_WORDS
        s[w.SLOTS_FRESH] += 1
    s[w.SLOTS_USED] += 1
    s[d + w.D_SLOT_COUNT] += 1
    base = octets_of(slot)
    for i in range(size):
        m[base + i] = buf[at + i]
    s[slot + w.SLOT_SEQ] = seq
    s[slot + w.SLOT_LENGTH] = size
    s[slot + w.SLOT_MISSING] = missing
    s[slot + w.SLOT_HEADERS] = s[w.H_HELD]
    s[slot + w.SLOT_TIME] = s[w.R_TIME]
    s[slot + w.SLOT_PACKET] = s[w.PACKETS]
    for i in range(5):
        s[slot + w.SLOT_LINK + i] = s[w.H_LINK + i]
    s[w.H_HELD] = 0
    before = 0
    after = s[d + w.D_SLOTS]
    while after != 0 and distance(seq, s[after + w.SLOT_SEQ]) >= 0:
        before = after
        after = s[after + w.SLOT_NEXT]
    s[slot + w.SLOT_NEXT] = after
    if before:
        s[before + w.SLOT_NEXT] = slot
    else:
        s[d + w.D_SLOTS] = slot


def octets_of(slot: int) -> int:
    """Return where a slot's octets stand in ``m``."""
    return w.M_SLOTS + (slot - w.SLOT_TABLE) // w.SLOT_WORDS * w.SLOT_OCTETS


def proceed(s: Words, d: int) -> int:
    """Say what comes next in a direction, after the last order was carried out."""
    while True:
        if s[w.F_MISSING] > 0:
            s[w.F_SKIP] = s[w.F_MISSING]
            s[d + w.D_NEXT] = (s[d + w.D_NEXT] + s[w.F_MISSING]) & MASK
            s[w.F_MISSING] = 0
            return SKIP
        settle(s, d)
        slot = s[d + w.D_SLOTS]
        if slot == 0:
            s[d + w.D_WAITED] = 0
            s[d + w.D_FLUSH] = 0
            return DONE
        delta = distance(s[slot + w.SLOT_SEQ], s[d + w.D_NEXT])
        if delta > 0 and s[d + w.D_FLUSH] == 0:
            return DONE
        if delta > 0:
            s[w.GAPS] += 1
            s[w.LOST] += delta
            s[w.F_SKIP] = delta
            s[d + w.D_NEXT] = s[slot + w.SLOT_SEQ]
            s[d + w.D_FLUSH] = 0
            s[d + w.D_WAITED] = 0
            return SKIP
        if take_slot(slot, -delta, d, s):
            return FEED_EARLY


def take_slot(slot: int, again: int, d: int, s: Words) -> int:
    """Take the first slot off the list, ``again`` octets of it seen before. Returns whether it brings anything new."""
    s[d + w.D_SLOTS] = s[slot + w.SLOT_NEXT]
    s[d + w.D_SLOT_COUNT] -= 1
    s[slot + w.SLOT_NEXT] = s[w.SLOT_FREE]
    s[w.SLOT_FREE] = slot
    s[w.SLOTS_USED] -= 1
    for i in range(5):
        s[w.H_LINK + i] = s[slot + w.SLOT_LINK + i]
    s[w.H_HELD] = s[slot + w.SLOT_HEADERS]
    s[w.BEST] = w.PURPOSE_COUNT
    have = s[slot + w.SLOT_LENGTH]
    missing = s[slot + w.SLOT_MISSING]
    seen = min(again, have)
    if again > 0:
        last = s[d + w.D_LAST_CLASS]
        group = w.G_OTHER if last < 0 else last // w.PURPOSE_COUNT
        kind = group * w.PURPOSE_COUNT + w.P_RETRANSMISSION
        s[w.RETRANSMITTED] += min(1, s[w.H_HELD])
        s[w.RETRANSMITTED_OCTETS] += seen
        s[w.ACC + kind * w.LAYER_COUNT + w.REPEATED] += seen
        if again >= have + missing:
            if s[w.H_HELD]:
                charge(s, kind)
            return 0
    missing -= max(0, again - have)
    base = octets_of(slot)
    s[w.F_AT] = base + seen
    s[w.F_END] = base + have
    s[w.F_MISSING] = missing
    s[d + w.D_NEXT] = (s[d + w.D_NEXT] + have - seen) & MASK
    return 1


def unlink(c: int, s: Words) -> None:
    """Take a finished connection out of its chain and free the record."""
    hashed = s[c + w.C_HASH]
    before = 0
    at = s[w.HASH + hashed]
    while at != c:
        before = at
        at = s[at + w.C_NEXT]
    if before:
        s[before + w.C_NEXT] = s[c + w.C_NEXT]
    else:
        s[w.HASH + hashed] = s[c + w.C_NEXT]
    s[c + w.C_USED] = 0
    s[c + w.C_NEXT] = s[w.CONN_FREE]
    s[w.CONN_FREE] = c

