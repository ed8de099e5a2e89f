"""Kernel: MQTT in WebSocket frames (RFC 6455; MQTT 5.0 section 6), from the HTTP request on.

A request that asks for a WebSocket with the subprotocol "mqtt", and its answer 101, are the WebSocket's set-up; the
headers of the frames are booked to the layer "websocket" and to the purpose of the packet that they carry.
"""

from mqproof.dissectors.mqtt import kernel as mqtt
from mqproof.dissectors.mqtt.finding import legal_first
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.booking import book, charge_waiting
from mqproof.dissectors.packets.octets import short
from mqproof.dissectors.packets.state import Octets, Words

LOST, HTTP_HEAD, HEAD, BODY = range(4)  # phases
MAX_HTTP_HEAD = 16384
MAX_FRAME = 1 << 29  # an MQTT packet has at most 2**28 octets
CLOSE, PONG = 8, 10
ASKED, IS_MQTT, REFUSED = 1, 2, 4  # what an HTTP head has said, bits of D_O_KIND
SETUP = w.G_MQTT * w.PURPOSE_COUNT + w.P_SETUP
KEEP_ALIVE = w.G_MQTT * w.PURPOSE_COUNT + w.P_KEEP_ALIVE
CLASS_OTHER = w.G_OTHER * w.PURPOSE_COUNT + w.P_OTHER
CLASS_UNDECODED = w.G_OTHER * w.PURPOSE_COUNT + w.P_UNDECODED
LINE_END = (13, 10, 13, 10)
WEBSOCKET = (0x77, 0x65, 0x62, 0x73, 0x6F, 0x63, 0x6B, 0x65, 0x74)
MQTT = (0x6D, 0x71, 0x74, 0x74)
SWITCHING = (0x31, 0x30, 0x31)  # the status code 101
STATUS = 9  # where it stands: after "HTTP/1.1 "


def begin_http(d: int, s: Words) -> None:
    """Expect the head of an HTTP request or answer. D_O_NEED, D_O_VALUE, D_O_TURN: how much of the words is there."""
    s[d + w.D_O_PHASE] = HTTP_HEAD
    for at in range(w.D_O_NEED, w.D_O_KIND + 1):
        s[d + at] = 0


def begin(d: int, s: Words) -> None:
    """Expect a frame's first octet."""
    s[d + w.D_O_PHASE] = HEAD
    s[d + w.D_O_NEED] = 2
    s[d + w.D_O_VALUE] = 0
    s[d + w.D_O_MASK] = 0
    s[d + w.D_O_TURN] = 0  # octets of the header so far, later of the payload
    s[d + w.D_O_HELD] = 0


def lose_sync(d: int, s: Words) -> None:
    """Look for a frame at the beginnings of segments."""
    s[d + w.D_O_PHASE] = LOST
    mqtt.lose_sync(d, s)


def plausible(buf: Octets, at: int, end: int) -> int:
    """Return whether a binary frame begins at ``at`` that holds exactly one MQTT packet."""
    if end - at < 4 or buf[at] != 0x82:
        return 0
    length = buf[at + 1] & 127
    body = at + 2
    if length == 127:
        return 0
    if length == 126:
        length = short(buf, at + 2)
        body = at + 4
    mask = body
    masked = buf[at + 1] // 128
    body += 4 * masked
    size = 0
    for i in range(min(5, end - body)):
        octet = buf[body + i] + 0
        if masked:
            octet = octet ^ buf[mask + i % 4]
        if i == 0:
            if not legal_first(octet, 0):
                return 0
        else:
            size += (octet & 127) << 7 * (i - 1)
            if octet < 128:
                return 1 if size + 1 + i == length else 0
    return 0


def feed(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Walk the next octets of a direction's stream."""
    if s[d + w.D_O_PHASE] == LOST and at < end and plausible(buf, at, end):
        s[w.RESYNCS] += 1
        begin(d, s)
    while at < end:
        phase = s[d + w.D_O_PHASE]
        if s[c + w.C_PROTOCOL] == w.PLAIN_OTHER:
            book(s, CLASS_OTHER, w.OTHER, end - at)
            return
        if phase == LOST:
            book(s, CLASS_UNDECODED, w.UNDECODED, end - at)
            return
        if phase == HTTP_HEAD:
            http_octet(buf[at] + 0, c, d, s)
            at += 1
        elif phase == HEAD:
            head_octet(buf[at] + 0, d, s)
            at += 1
        else:
            take = min(s[d + w.D_O_NEED], end - at, w.UNMASKED_OCTETS)
            body(buf, at, take, c, d, s, m)
            at += take


def http_octet(octet: int, c: int, d: int, s: Words) -> None:
    """One octet of an HTTP head: look for its end and for the words that matter."""
    place = s[d + w.D_O_HELD]
    s[d + w.D_O_HELD] = place + 1
    small = octet | 32 if 65 <= octet <= 90 else octet
    answers = d != c + w.CONN_HEAD + max(0, s[c + w.C_CLIENT]) * w.DIRECTION_WORDS
    if answers and STATUS <= place < STATUS + 3 and octet != SWITCHING[place - STATUS]:
        s[d + w.D_O_KIND] |= REFUSED
    matched = s[d + w.D_O_VALUE]
    matched = matched + 1 if small == WEBSOCKET[matched] else (1 if small == WEBSOCKET[0] else 0)
    if matched == 9:
        s[d + w.D_O_KIND] |= ASKED
        matched = 0
    s[d + w.D_O_VALUE] = matched
    matched = s[d + w.D_O_TURN]
    matched = matched + 1 if small == MQTT[matched] else (1 if small == MQTT[0] else 0)
    if matched == 4:
        s[d + w.D_O_KIND] |= IS_MQTT
        matched = 0
    s[d + w.D_O_TURN] = matched
    matched = s[d + w.D_O_NEED]
    s[d + w.D_O_NEED] = matched + 1 if octet == LINE_END[matched] else (1 if octet == 13 else 0)
    if s[d + w.D_O_NEED] == 4:
        http_done(c, d, s)
    elif place >= MAX_HTTP_HEAD:
        refuse(c, s)


def http_done(c: int, d: int, s: Words) -> None:
    """An HTTP head is complete: the client's asks for MQTT in a WebSocket or not, the server's agrees or not."""
    if s[c + w.C_PROTOCOL] == w.HTTP:
        if s[d + w.D_O_KIND] & (ASKED | IS_MQTT) != ASKED | IS_MQTT or s[c + w.C_CLIENT] < 0:
            refuse(c, s)
            return
        s[c + w.C_PROTOCOL] = w.OVER_WEBSOCKET
        s[w.WEBSOCKET_SEEN] += 1
        charge_waiting(s, c + w.C_LINK, SETUP)
    book(s, SETUP, w.WEBSOCKET, s[d + w.D_O_HELD])
    s[d + w.D_O_HELD] = 0
    if s[d + w.D_O_KIND] & REFUSED:
        refuse(c, s)
        return
    begin(d, s)
    mqtt.begin(d, s)


def refuse(c: int, s: Words) -> None:
    """It is HTTP and no more: other protocols' octets, and so is what either side had begun."""
    s[c + w.C_PROTOCOL] = w.PLAIN_OTHER
    for side in range(2):
        d = c + w.CONN_HEAD + side * w.DIRECTION_WORDS
        if s[d + w.D_O_HELD]:
            book(s, CLASS_OTHER, w.OTHER, s[d + w.D_O_HELD])
            s[d + w.D_O_HELD] = 0
    charge_waiting(s, c + w.C_LINK, CLASS_OTHER)


def head_octet(octet: int, d: int, s: Words) -> None:
    """Section 5.2: two octets, up to eight of length, four of mask. D_O_NEED counts down."""
    place = s[d + w.D_O_TURN]
    s[d + w.D_O_TURN] = place + 1
    s[d + w.D_O_NEED] -= 1
    s[d + w.D_O_HELD] += 1
    if place == 0:
        s[d + w.D_O_KIND] = octet
        if octet & 0x70 or octet & 15 not in (0, 1, 2, 8, 9, 10):
            malformed(d, s)
        return
    if place == 1:
        length = octet & 127
        s[d + w.D_O_NEED] = 4 * (octet // 128)
        if length > 125:
            s[d + w.D_O_NEED] += 2 if length == 126 else 8
            length = 0
        s[d + w.D_O_VALUE] = length
        s[d + w.D_O_KIND] = (s[d + w.D_O_KIND] & 15) + 16 * (octet // 128) + (32 if octet & 127 > 125 else 0)
    elif s[d + w.D_O_KIND] & 16 and s[d + w.D_O_NEED] < 4:
        s[d + w.D_O_MASK] = s[d + w.D_O_MASK] << 8 | octet
    else:
        s[d + w.D_O_VALUE] = s[d + w.D_O_VALUE] << 8 | octet
        if s[d + w.D_O_VALUE] > MAX_FRAME:
            malformed(d, s)
            return
    if s[d + w.D_O_NEED] == 0:
        head_done(d, s)


def head_done(d: int, s: Words) -> None:
    """The header is there: expect the payload, if there is any."""
    length = s[d + w.D_O_VALUE]
    if length == 0:
        book(s, class_of(d, s), w.WEBSOCKET, s[d + w.D_O_HELD])
        begin(d, s)
        return
    s[d + w.D_O_PHASE] = BODY
    s[d + w.D_O_NEED] = length
    s[d + w.D_O_TURN] = 0


def class_of(d: int, s: Words) -> int:
    """Return the class of a frame: that of the MQTT packet in it, or a control frame's own."""
    opcode = s[d + w.D_O_KIND] & 15
    if opcode > CLOSE:
        return KEEP_ALIVE
    kind = s[d + w.D_CLASS]
    return SETUP if opcode == CLOSE or kind // w.PURPOSE_COUNT == w.G_OTHER else kind


def malformed(d: int, s: Words) -> None:
    """Octets that are no frame: look for the next one."""
    book(s, CLASS_UNDECODED, w.UNDECODED, s[d + w.D_O_HELD])
    s[d + w.D_O_HELD] = 0
    s[w.MALFORMED] += 1
    mqtt.finish(d, s)
    lose_sync(d, s)


def body(buf: Octets, at: int, take: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Give octets of a frame's payload, unmasked, to MQTT."""
    turn = s[d + w.D_O_TURN]
    if s[d + w.D_O_KIND] & 15 >= CLOSE:
        book(s, class_of(d, s), w.WEBSOCKET, take)
    elif s[d + w.D_O_KIND] & 16:
        mask = s[d + w.D_O_MASK]
        for i in range(take):
            m[w.M_UNMASKED + i] = (buf[at + i] ^ (mask >> 8 * (3 - (turn + i) % 4))) & 255
        mqtt.feed(m, w.M_UNMASKED, w.M_UNMASKED + take, c, d, s, m)
    else:
        mqtt.feed(buf, at, at + take, c, d, s, m)
    if s[d + w.D_O_HELD]:
        book(s, class_of(d, s), w.WEBSOCKET, s[d + w.D_O_HELD])
        s[d + w.D_O_HELD] = 0
    s[d + w.D_O_TURN] = (turn + take) % 4
    s[d + w.D_O_NEED] -= take
    if s[d + w.D_O_NEED] == 0:
        begin(d, s)


def lose(count: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Octets are missing from the stream: go on inside the frame where it is longer."""
    phase = s[d + w.D_O_PHASE]
    if s[c + w.C_PROTOCOL] == w.HTTP:
        refuse(c, s)
    elif phase == BODY and count <= s[d + w.D_O_NEED]:
        s[d + w.D_O_NEED] -= count
        s[d + w.D_O_TURN] = (s[d + w.D_O_TURN] + count) % 4
        if s[d + w.D_O_KIND] & 15 < CLOSE:
            mqtt.lose(count, c, d, s, m)
        if s[d + w.D_O_NEED] == 0:
            unbooked(d, s)
            begin(d, s)
    else:
        finish(c, d, s)
        lose_sync(d, s)


def unbooked(d: int, s: Words) -> None:
    """Octets of a header whose frame is not known stay undecoded."""
    s[w.ACC + CLASS_UNDECODED * w.LAYER_COUNT + w.UNDECODED] += s[d + w.D_O_HELD]
    s[d + w.D_O_HELD] = 0


def finish(c: int, d: int, s: Words) -> None:
    """The stream ends or has a hole: a frame that has begun stays incomplete."""
    if s[c + w.C_PROTOCOL] == w.HTTP:
        refuse(c, s)
        return
    if s[d + w.D_O_HELD] and s[d + w.D_O_PHASE] == HEAD:
        s[w.INCOMPLETE] += 1
    unbooked(d, s)
    mqtt.finish(d, s)
