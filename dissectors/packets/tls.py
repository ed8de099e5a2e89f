"""Kernel: TLS records on a stream of octets. Nothing is decrypted: records are counted, their own octets booked.

What is known without keys: the record header (RFC 8446 section 5.1), that everything but application data sets the
connection up, and, where the ServerHello was seen, what the cipher adds to each record (the tag, an explicit nonce, TLS
1.3's content type). Sizes of a few octets suggest kinds of frames; they are counted apart, as a guess.
"""

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.booking import book
from mqproof.dissectors.packets.octets import short
from mqproof.dissectors.packets.state import Octets, Words

LOST, HEAD, BODY = range(3)  # phases
HANDSHAKE = 22
APPLICATION_DATA = 23
SERVER_HELLO = 2
CLIENT_HELLO = 1
HEAD_OCTETS = 5
MAX_LENGTH = (1 << 14) + 2048  # RFC 5246 section 6.2.3
SESSION_ID = 38  # where its length stands in a ServerHello: type, length, version, random
EXTRA_1_3 = 17  # tag and content type: RFC 8446 section 5.2
SETUP = w.G_TLS * w.PURPOSE_COUNT + w.P_SETUP
SECRET = w.G_TLS * w.PURPOSE_COUNT + w.P_UNDECODED


def legal_head(buf: Octets, at: int, end: int) -> int:
    """Return the end of the record at ``at`` (possibly beyond ``end``), or 0."""
    if end - at < HEAD_OCTETS or buf[at] < 20 or buf[at] > APPLICATION_DATA or buf[at + 1] != 3 or buf[at + 2] > 4:
        return 0
    length = short(buf, at + 3)
    return at + HEAD_OCTETS + length if 0 < length <= MAX_LENGTH else 0


def plausible(buf: Octets, at: int, end: int) -> int:
    """Return whether a record begins at ``at``: followed by another, by the segment's end, or longer than it."""
    stop = legal_head(buf, at, end)
    if stop == 0:
        return 0
    return 1 if stop >= end or end - stop < HEAD_OCTETS or legal_head(buf, stop, end) else 0


def begin(d: int, s: Words) -> None:
    """Expect a record's first octet."""
    s[d + w.D_O_PHASE] = HEAD
    s[d + w.D_O_NEED] = HEAD_OCTETS
    s[d + w.D_O_VALUE] = 0


def lose_sync(d: int, s: Words) -> None:
    """Look for a record at the beginnings of segments."""
    s[d + w.D_O_PHASE] = LOST


def feed(buf: Octets, at: int, end: int, c: int, d: int, s: Words) -> None:
    """Walk the next octets of a direction's stream."""
    if s[d + w.D_O_PHASE] == LOST and at < end and plausible(buf, at, end):
        s[w.RESYNCS] += 1
        begin(d, s)
    while at < end:
        phase = s[d + w.D_O_PHASE]
        if phase == LOST:
            book(s, SECRET, w.UNDECODED, end - at)
            return
        if phase == HEAD:
            s[d + w.D_O_VALUE] = s[d + w.D_O_VALUE] << 8 | buf[at]
            s[d + w.D_O_NEED] -= 1
            at += 1
            if s[d + w.D_O_NEED] == 0:
                record_begins(c, d, s)
        else:
            take = min(s[d + w.D_O_NEED], end - at)
            body(buf, at, take, c, d, s)
            at += take


def record_begins(c: int, d: int, s: Words) -> None:
    """The 5 octets are there: which record, how long."""
    value = s[d + w.D_O_VALUE]
    kind = value >> 32
    length = value & 0xFFFF
    if kind < 20 or kind > APPLICATION_DATA or value >> 24 & 0xFF != 3 or length == 0 or length > MAX_LENGTH:
        book(s, SECRET, w.UNDECODED, HEAD_OCTETS)
        s[w.MALFORMED] += 1
        lose_sync(d, s)
        return
    s[d + w.D_O_PHASE] = BODY
    s[d + w.D_O_NEED] = length
    s[d + w.D_O_TURN] = 0
    s[d + w.D_O_HELD] = 0
    s[d + w.D_O_MASK] = 0
    s[d + w.D_O_KIND] = SETUP
    if kind == APPLICATION_DATA and not sets_up(c, d, s):
        s[d + w.D_O_KIND] = SECRET
        s[d + w.D_O_HELD] = min(s[c + w.C_TLS_EXTRA], length)
        s[w.TLS_RECORDS] += 1
        if s[c + w.C_TLS_EXTRA]:
            guess(length - s[d + w.D_O_HELD], c, d, s)
    elif kind == HANDSHAKE and s[c + w.C_TLS_VERSION] == 0:
        s[d + w.D_O_MASK] = 1  # look into it: it is not encrypted yet
    book(s, s[d + w.D_O_KIND], w.TLS, HEAD_OCTETS)
    s[c + w.C_FRAMES] += 1


def sets_up(c: int, d: int, s: Words) -> int:
    """TLS 1.3 hides the end of the handshake in application data: all up to the client's first such record."""
    if s[c + w.C_TLS_VERSION] != 3 or s[c + w.C_TLS_FINISHED]:
        return 0
    if d == c + w.CONN_HEAD + s[c + w.C_CLIENT] * w.DIRECTION_WORDS:
        s[c + w.C_TLS_FINISHED] = 1
    return 1


def body(buf: Octets, at: int, take: int, c: int, d: int, s: Words) -> None:
    """Book octets of a record's body."""
    for i in range(take):
        if s[d + w.D_O_MASK] == 0:
            break
        hello_octet(buf[at + i] + 0, c, d, s)
    kind = s[d + w.D_O_KIND]
    if kind == SETUP:
        book(s, SETUP, w.TLS, take)
    else:
        extra = min(s[d + w.D_O_HELD], take)
        s[d + w.D_O_HELD] -= extra
        book(s, SECRET, w.TLS, extra)
        book(s, SECRET, w.UNDECODED, take - extra)
    s[d + w.D_O_NEED] -= take
    if s[d + w.D_O_NEED] == 0:
        begin(d, s)


def hello_octet(octet: int, c: int, d: int, s: Words) -> None:
    """Look for the cipher suite of a ServerHello (RFC 8446 section 4.1.3); D_O_MASK: 1 more than its place is off."""
    place = s[d + w.D_O_TURN]
    s[d + w.D_O_TURN] = place + 1
    if place == 0:
        side = 0 if d == c + w.CONN_HEAD else 1
        if octet in (CLIENT_HELLO, SERVER_HELLO):
            s[c + w.C_CLIENT] = side if octet == CLIENT_HELLO else 1 - side
        if octet != SERVER_HELLO:
            s[d + w.D_O_MASK] = 0
    elif place == SESSION_ID:
        s[d + w.D_O_MASK] = 1 + octet
    elif place == SESSION_ID + s[d + w.D_O_MASK]:
        s[d + w.D_O_VALUE] = octet
    elif place > SESSION_ID + s[d + w.D_O_MASK]:
        cipher(s[d + w.D_O_VALUE] << 8 | octet, c, s)
        s[d + w.D_O_MASK] = 0


def cipher(suite: int, c: int, s: Words) -> None:
    """Note what a cipher suite adds to each record; 0 where that depends on the content (CBC)."""
    s[c + w.C_TLS_EXTRA] = 0
    s[c + w.C_TLS_VERSION] = 3 if suite >> 8 == 0x13 else 2
    if suite >> 8 == 0x13:
        s[c + w.C_TLS_EXTRA] = 9 if suite == 0x1305 else EXTRA_1_3
    elif suite in (0x009C, 0x009D, 0x009E, 0x009F, 0xC02B, 0xC02C, 0xC02F, 0xC030):
        s[c + w.C_TLS_EXTRA] = 24  # RFC 5288: nonce and tag
    elif suite in (0xCCA8, 0xCCA9, 0xCCAA):
        s[c + w.C_TLS_EXTRA] = 16  # RFC 7905


def guess(size: int, c: int, d: int, s: Words) -> None:
    """Count a plaintext of a size that only few frames have; 2 octets there and back are a keep-alive's rhythm.

    A pair counts once something follows it: at the end of a connection it may be DISCONNECT and TLS's own farewell.
    """
    if s[c + w.C_TLS_PAIR]:
        exchange(c, s)
    s[w.TLS_SIZED] += 1
    s[w.TLS_OCTETS] += size
    if size == 4:
        s[w.TLS_SIZE_4] += 1
    elif size == 8:
        s[w.TLS_SIZE_8] += 1
    elif size == 21:
        s[w.TLS_SIZE_21] += 1
    if size != 2:
        s[c + w.C_TLS_SMALL] = 0
        return
    s[w.TLS_SIZE_2] += 1
    if s[c + w.C_TLS_SMALL] and s[c + w.C_TLS_SMALL] != d:
        s[c + w.C_TLS_PAIR] = s[w.R_TIME]
        s[c + w.C_TLS_SMALL] = 0
        return
    s[c + w.C_TLS_SMALL] = d


def exchange(c: int, s: Words) -> None:
    """Count a keep-alive, and the time since the one before."""
    time = s[c + w.C_TLS_PAIR]
    s[c + w.C_TLS_PAIR] = 0
    s[w.TLS_PINGS] += 1
    if s[c + w.C_TLS_TIME]:
        s[w.TLS_INTERVALS] += 1
        s[w.TLS_INTERVAL_TIME] += time - s[c + w.C_TLS_TIME]
    s[c + w.C_TLS_TIME] = time


def lose(count: int, d: int, s: Words) -> None:
    """Octets are missing from the stream: go on inside the record where it is longer."""
    if s[d + w.D_O_PHASE] == BODY and count <= s[d + w.D_O_NEED]:
        s[d + w.D_O_MASK] = 0
        s[d + w.D_O_NEED] -= count
        if s[d + w.D_O_NEED] == 0:
            begin(d, s)
        return
    finish(d, s)


def finish(d: int, s: Words) -> None:
    """The stream ends or has a hole: a record that has begun stays incomplete."""
    phase = s[d + w.D_O_PHASE]
    if phase == BODY or (phase == HEAD and s[d + w.D_O_NEED] < HEAD_OCTETS):
        s[w.INCOMPLETE] += 1
    if phase == HEAD:
        s[w.ACC + SECRET * w.LAYER_COUNT + w.UNDECODED] += HEAD_OCTETS - s[d + w.D_O_NEED]
    lose_sync(d, s)
