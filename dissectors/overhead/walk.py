"""Kernel: from the octets of a capture to the account, in one pass. Composes the kernels of packets, AMQP and MQTT."""

from mqproof.dissectors.amqp import kernel as amqp
from mqproof.dissectors.mqtt import kernel as mqtt
from mqproof.dissectors.mqtt.counting import side_of
from mqproof.dissectors.overhead import websocket
from mqproof.dissectors.overhead.recognition import AGAIN, judge
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets import tls
from mqproof.dissectors.packets.booking import book, charge_waiting, group_of
from mqproof.dissectors.packets.fragments import gather, may_carry_tcp, open_datagram, show_headers, write_off_all
from mqproof.dissectors.packets.links import IPPROTO_TCP, find_network, find_transport
from mqproof.dissectors.packets.octets import high
from mqproof.dissectors.packets.records import PACKET, next_record
from mqproof.dissectors.packets.state import Octets, Words
from mqproof.dissectors.packets.tcp import (
    DONE,
    FEED,
    FEED_EARLY,
    SKIP,
    clear,
    direction,
    find_connection,
    proceed,
    reborn,
    segment,
    unlink,
)

STRIKES = 3  # so many segments that look like nothing we know, and the connection is somebody else's
HANDFUL = 64  # records looked at to find one to give up
CLASS_OTHER = w.G_OTHER * w.PURPOSE_COUNT + w.P_OTHER
CLASS_UNDECODED = w.G_OTHER * w.PURPOSE_COUNT + w.P_UNDECODED


def walk(buf: Octets, end: int, s: Words, m: Octets) -> int:
    """Walk the records from POS on; POS is left where the next one begins.

    Returns MORE, BLOCK, CORRUPT, GROW or ROWS_FULL: what is wanted before it can go on.
    """
    while True:
        if s[w.ROWS_USED] > w.ROW_LIMIT - w.ROW_ROOM:
            return w.ROWS_FULL
        if s[w.CONN_FREE] == 0 and s[w.CONNS] >= s[w.CONN_LIMIT]:
            if s[w.CONN_LIMIT] < w.MAX_CONNS:
                return w.GROW
            give_up_one(s, m)
        status = next_record(buf, end, s)
        if status != PACKET:
            return status
        packet(buf, s, m)
        s[w.POS] = s[w.R_NEXT]


def packet(buf: Octets, s: Words, m: Octets) -> None:
    """Book one packet, down to the frames in it."""
    at = s[w.R_AT]
    end = at + s[w.R_CAPTURED]
    s[w.PACKETS] += 1
    s[w.CAPTURED] += s[w.R_CAPTURED]
    s[w.WIRE] += s[w.R_ORIGINAL]
    if s[w.R_CAPTURED] < s[w.R_ORIGINAL]:
        s[w.CUT_PACKETS] += 1
    if s[w.PACKETS] == 1:
        s[w.FIRST_TIME] = s[w.R_TIME]
    s[w.LAST_TIME] = max(s[w.LAST_TIME], s[w.R_TIME])
    s[w.L3] = at
    s[w.L4] = -1
    s[w.BEST] = w.PURPOSE_COUNT
    if not find_network(buf, at, end, s[w.R_LINKTYPE], s):
        other_packet(at, s[w.L3], s[w.L3], end, s)
    elif not find_transport(buf, end, s):
        if s[w.FRAGMENT]:
            fragment_packet(buf, at, end, s, m)
            return
        other_packet(at, s[w.L3], max(s[w.L3], s[w.L4]), end, s)
    elif s[w.IP_PROTOCOL] != IPPROTO_TCP:
        other_packet(at, s[w.L3], s[w.L4], end, s)
    else:
        tcp_packet(buf, at, end, s, m)


def other_packet(at: int, network: int, transport: int, end: int, s: Words) -> None:
    """Book a packet that is not TCP, or that cannot be followed to it."""
    s[w.NON_TCP] += 1
    row = w.ACC + CLASS_OTHER * w.LAYER_COUNT
    s[row + w.LINK] += network - at
    s[row + w.IP] += transport - network
    s[row + w.OTHER] += end - transport
    s[w.CLASS_PACKETS + CLASS_OTHER] += 1


def tcp_packet(buf: Octets, at: int, end: int, s: Words, m: Octets) -> None:
    """Book a TCP packet."""
    l4 = s[w.L4]
    stop = min(end, s[w.L4_END])
    header = high(buf, l4 + 12) * 4 if stop - l4 >= 20 else 0
    if header < 20 or l4 + header > stop:
        s[w.BAD_PACKETS] += 1
        row = w.ACC + CLASS_UNDECODED * w.LAYER_COUNT
        s[row + w.LINK] += s[w.L3] - at
        s[row + w.IP] += l4 - s[w.L3]
        s[row + w.UNDECODED] += end - l4
        s[w.CLASS_PACKETS + CLASS_UNDECODED] += 1
        return
    c = join(buf, s, m)
    s[w.H_LINK] = s[w.L3] - at  # not before: what waited in an old connection has headers of its own
    s[w.H_IP] = l4 - s[w.L3]
    s[w.H_PADDING] = max(0, end - s[w.L4_END])
    s[w.H_PACKETS] = 1
    s[w.H_OCTETS] = s[w.R_CAPTURED]
    follow(buf, end, header, c, s, m)


def fragment_packet(buf: Octets, at: int, end: int, s: Words, m: Octets) -> None:
    """Book a fragment: with its datagram, once that is whole, where it may be of TCP."""
    s[w.FRAGMENTS] += 1
    if not may_carry_tcp(s):
        other_packet(at, s[w.L3], s[w.L4], end, s)
        return
    datagram = gather(buf, at, end, s, m)
    if datagram == 0:
        return
    header = open_datagram(datagram, s, m)
    if header == 0:
        return
    c = join(m, s, m)
    show_headers(datagram, s)
    follow(m, s[w.DATAGRAM_END], header, c, s, m)
    s[datagram + w.G_CLASS] = group_of(s, c) * w.PURPOSE_COUNT + w.P_RETRANSMISSION


def join(buf: Octets, s: Words, m: Octets) -> int:
    """Return the connection of the packet with the TCP header at L4, begun anew where its SYN says so."""
    c = find_connection(buf, s)
    if reborn(buf, c, s):
        finish_connection(c, s, m)
        clear(s, c)
    return c


def follow(buf: Octets, end: int, header: int, c: int, s: Words, m: Octets) -> None:
    """Give a whole TCP header, and the data behind it, to its connection."""
    s[w.TCP_PACKETS] += s[w.H_PACKETS]
    s[w.H_TCP] = 20
    s[w.H_OPTIONS] = header - 20
    s[c + w.C_LAST] = s[w.PACKETS]
    s[c + w.C_LAST_TIME] = s[w.R_TIME]
    d = direction(c, s[w.SIDE])
    s[d + w.D_TOTAL_PACKETS] += s[w.H_PACKETS]
    s[d + w.D_TOTAL_OCTETS] += s[w.H_OCTETS]
    obey(segment(buf, end, c, s, m), buf, s, m)


def obey(order: int, buf: Octets, s: Words, m: Octets) -> None:
    """Carry out TCP's orders until there are none."""
    c = s[w.F_CONN]
    d = s[w.F_DIRECTION]
    while order != DONE:
        if order == SKIP:
            lose(s[w.F_SKIP], c, d, s, m)
        else:
            if s[d + w.D_LOST]:
                lose(s[d + w.D_LOST], c, d, s, m)
                s[d + w.D_LOST] = 0
            if order == FEED:
                feed(buf, s[w.F_AT], s[w.F_END], c, d, s, m)
            elif order == FEED_EARLY:
                feed(m, s[w.F_AT], s[w.F_END], c, d, s, m)
        order = proceed(s, d)


def feed(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Give the next octets of a stream to the protocol of the connection, once that is known."""
    if at >= end:
        return
    protocol = s[c + w.C_PROTOCOL]
    if protocol != w.UNKNOWN and s[d + w.D_HELD]:
        base = s[d + w.D_SCRATCH] + w.BEGINNING
        held = s[d + w.D_HELD]
        s[d + w.D_HELD] = 0
        feed_known(m, base, base + held, c, d, s, m)
    if protocol == w.UNKNOWN:
        recognise(buf, at, end, c, d, s, m)
    else:
        feed_known(buf, at, end, c, d, s, m)


def feed_known(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Give the next octets of a stream to the protocol of the connection."""
    protocol = s[c + w.C_PROTOCOL]
    if protocol == w.PLAIN_AMQP:
        amqp.feed(buf, at, end, c, d, s, m)
    elif protocol == w.PLAIN_MQTT:
        mqtt.feed(buf, at, end, c, d, s, m)
    elif protocol == w.OVER_TLS:
        tls.feed(buf, at, end, c, d, s)
    elif protocol in (w.HTTP, w.OVER_WEBSOCKET, w.AMQP_OVER_WEBSOCKET):
        websocket.feed(buf, at, end, c, d, s, m)
    else:
        book(s, CLASS_OTHER, w.OTHER, end - at)


def lose(count: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Tell the protocol that octets are missing."""
    if s[c + w.C_PROTOCOL] == w.PLAIN_AMQP:
        amqp.lose(count, c, d, s, m)
    elif s[c + w.C_PROTOCOL] == w.PLAIN_MQTT:
        mqtt.lose(count, c, d, s, m)
    elif s[c + w.C_PROTOCOL] == w.OVER_TLS:
        tls.lose(count, d, s)
    elif s[c + w.C_PROTOCOL] in (w.HTTP, w.OVER_WEBSOCKET, w.AMQP_OVER_WEBSOCKET):
        websocket.lose(count, c, d, s, m)


def recognise(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Find out what a connection speaks, by its first octets or by a plausible chain of frames."""
    held = s[d + w.D_HELD]
    if held == 0:
        verdict = judge(buf, at, end, c, d, s)
        if verdict == AGAIN:
            hold(buf, at, end, d, s, m)
            return
        become(verdict, c, d, s)
        if s[c + w.C_PROTOCOL] == w.UNKNOWN:
            book(s, CLASS_OTHER, w.OTHER, end - at)
        else:
            feed_known(buf, at, end, c, d, s, m)
        return
    base = s[d + w.D_SCRATCH] + w.BEGINNING
    taken = min(w.BEGINNING_SIZE - held, end - at)
    hold(buf, at, at + taken, d, s, m)
    verdict = judge(m, base, base + held + taken, c, d, s)
    if verdict == AGAIN:
        return
    s[d + w.D_HELD] = 0
    become(verdict, c, d, s)
    if s[c + w.C_PROTOCOL] == w.UNKNOWN:
        book(s, CLASS_OTHER, w.OTHER, held + end - at)
        return
    feed_known(m, base, base + held, c, d, s, m)
    feed_known(buf, at, end, c, d, s, m)


def hold(buf: Octets, at: int, end: int, d: int, s: Words, m: Octets) -> None:
    """Keep a stream's first few octets until there are enough to tell."""
    base = s[d + w.D_SCRATCH] + w.BEGINNING + s[d + w.D_HELD]
    for i in range(end - at):
        m[base + i] = buf[at + i]
    s[d + w.D_HELD] += end - at


def become(verdict: int, c: int, d: int, s: Words) -> None:
    """The protocol is known (or three segments said nothing): start both directions and settle what waited."""
    if verdict == w.UNKNOWN:
        s[c + w.C_STRIKES] += 1
        if s[c + w.C_STRIKES] < STRIKES:
            return
        verdict = w.PLAIN_OTHER
    s[c + w.C_PROTOCOL] = verdict
    if verdict == w.OVER_TLS:
        s[w.TLS_SEEN] += 1
    for side in range(2):
        begin_direction(direction(c, side), verdict, s)
    if verdict in (w.OVER_WEBSOCKET, w.AMQP_OVER_WEBSOCKET):
        s[w.WEBSOCKET_SEEN] += 1
    if verdict == w.HTTP:
        if s[c + w.C_CLIENT] < 0:
            s[c + w.C_CLIENT] = side_of(c, d)
        return  # whose set-up that was is not known yet
    charge_waiting(s, c + w.C_LINK, group_of(s, c) * w.PURPOSE_COUNT + w.P_SETUP)


def begin_direction(d: int, protocol: int, s: Words) -> None:
    """Expect a frame where the stream's beginning is known, else look for one."""
    if protocol == w.PLAIN_AMQP:
        if s[d + w.D_STARTED]:
            amqp.begin(d, s)
        else:
            amqp.lose_sync(d, s)
    elif protocol == w.PLAIN_MQTT:
        if s[d + w.D_STARTED]:
            mqtt.begin(d, s)
        else:
            mqtt.lose_sync(d, s)
    elif protocol == w.OVER_TLS:
        if s[d + w.D_STARTED]:
            tls.begin(d, s)
    elif protocol == w.HTTP:
        websocket.begin_http(d, s)
    elif protocol in (w.OVER_WEBSOCKET, w.AMQP_OVER_WEBSOCKET):
        websocket.lose_sync(protocol, d, s)


def finish_connection(c: int, s: Words, m: Octets) -> None:
    """Bring a connection's books to an end: what waits in order, what began, what never became known."""
    for side in range(2):
        d = direction(c, side)
        s[w.F_CONN] = c
        s[w.F_DIRECTION] = d
        s[w.H_HELD] = 0
        s[w.F_MISSING] = 0
        while s[d + w.D_SLOTS] != 0:
            s[d + w.D_FLUSH] = 1
            obey(proceed(s, d), m, s, m)
        if s[c + w.C_PROTOCOL] == w.PLAIN_AMQP:
            amqp.finish(d, s)
        elif s[c + w.C_PROTOCOL] == w.PLAIN_MQTT:
            mqtt.finish(d, s)
        elif s[c + w.C_PROTOCOL] == w.OVER_TLS:
            tls.finish(d, s)
        elif s[c + w.C_PROTOCOL] in (w.HTTP, w.OVER_WEBSOCKET, w.AMQP_OVER_WEBSOCKET):
            websocket.finish(c, d, s)
        s[w.ACC + CLASS_UNDECODED * w.LAYER_COUNT + w.UNDECODED] += s[d + w.D_HELD]
        s[d + w.D_HELD] = 0
        charge_waiting(s, d + w.D_LINK, CLASS_UNDECODED)
    charge_waiting(s, c + w.C_LINK, group_of(s, c) * w.PURPOSE_COUNT + w.P_SETUP)
    add_row(c, s)


def add_row(c: int, s: Words) -> None:
    """Keep what a connection was for the engine to take away."""
    row = w.ROWS + s[w.ROWS_USED] * w.ROW_WORDS
    s[w.ROWS_USED] += 1
    for i in range(w.CONN_HEAD):
        s[row + i] = s[c + i]
    for side in range(2):
        d = direction(c, side)
        s[row + w.CONN_HEAD + 2 * side] = s[d + w.D_TOTAL_PACKETS]
        s[row + w.CONN_HEAD + 2 * side + 1] = s[d + w.D_TOTAL_OCTETS]


def give_up_one(s: Words, m: Octets) -> None:
    """Free a record: a closed connection's if one is at hand, else the one that was silent longest."""
    best = 0
    for _ in range(HANDFUL):
        s[w.CONN_HAND] = (s[w.CONN_HAND] + 1) % s[w.CONNS]
        c = w.CONN_TABLE + s[w.CONN_HAND] * w.CONN_WORDS
        if s[c + w.C_USED] == 0:
            continue
        closed = s[c + w.C_CLOSED] == 3
        if best == 0 or (closed, -s[c + w.C_LAST]) > (s[best + w.C_CLOSED] == 3, -s[best + w.C_LAST]):
            best = c
    if s[best + w.C_CLOSED] != 3:
        s[w.CONNS_EVICTED] += 1
    finish_connection(best, s, m)
    unlink(best, s)


def finish(s: Words, m: Octets) -> int:
    """The capture ends: bring all connections' books to an end. Returns DONE, or ROWS_FULL to be called again."""
    if s[w.FINISHED] == 0:
        write_off_all(s)
    while s[w.FINISHED] < s[w.CONNS]:
        if s[w.ROWS_USED] > w.ROW_LIMIT - w.ROW_ROOM:
            return w.ROWS_FULL
        c = w.CONN_TABLE + s[w.FINISHED] * w.CONN_WORDS
        s[w.FINISHED] += 1
        if s[c + w.C_USED]:
            finish_connection(c, s, m)
            unlink(c, s)
    return w.DONE
