"""Kernel: MQTT and AMQP in WebSocket frames (RFC 6455; MQTT 5.0 section 6), from the HTTP request on.

A request that asks for a WebSocket, and its answer 101, are its set-up, and whose it is, the client's first octet in it
tells; the headers of the frames are booked to the layer "websocket" and to the purpose of the packet that they carry.
"""

from mqproof.dissectors.amqp import kernel as amqp
from mqproof.dissectors.amqp.finding import HEARTBEAT, METHOD
from mqproof.dissectors.amqp.tables import FRAME_END
from mqproof.dissectors.mqtt import kernel as mqtt
from mqproof.dissectors.mqtt.finding import legal_first
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.booking import book, charge_waiting, group_of
from mqproof.dissectors.packets.octets import short
from mqproof.dissectors.packets.state import Octets, Words

LOST, HTTP_HEAD, HEAD, BODY = range(4)  # phases
MAX_HTTP_HEAD = 16384
MAX_FRAME = 1 << 29  # an MQTT packet has at most 2**28 octets
CLOSE, PONG = 8, 10
ASKED, IS_MQTT, REFUSED = 1, 2, 4  # what an HTTP head has said, bits of D_O_KIND
BINARY = 0x82  # the first octet of a binary frame that is not continued
LETTER_A, PROTOCOL_HEADER = 0x41, 8
CONNECT, SMALLEST_CONNECT = 0x10, 14
METHOD_HEAD = 11  # octets of an AMQP frame until the method is known
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


def lose_sync(protocol: int, d: int, s: Words) -> None:
    """Look for a frame at the beginnings of segments."""
    s[d + w.D_O_PHASE] = LOST
    if protocol == w.AMQP_OVER_WEBSOCKET:
        amqp.lose_sync(d, s)
    else:
        mqtt.lose_sync(d, s)


def plausible(buf: Octets, at: int, end: int) -> int:
    """Return the protocol where a binary frame begins at ``at`` with a frame of AMQP, or exactly one MQTT packet."""
    if end - at < 4 or buf[at] != BINARY:
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
    if plausible_mqtt(buf, body, end, mask, masked, length):
        return w.OVER_WEBSOCKET
    return w.AMQP_OVER_WEBSOCKET if plausible_amqp(buf, body, end, mask, masked, length) else 0


def plausible_mqtt(buf: Octets, body: int, end: int, mask: int, masked: int, length: int) -> int:
    """Return whether a frame's payload has the length of the MQTT packet in it."""
    size = 0
    for i in range(min(5, end - body)):
        octet = unmasked(buf, body, i, mask, masked)
        if i == 0:
            if not legal_first(octet, 0):
                return 0
        else:
            size += (octet & 127) << 7 * (i - 1)
            if octet < 128:
                return 1 if size + 1 + i == length else 0
    return 0


def plausible_amqp(buf: Octets, body: int, end: int, mask: int, masked: int, length: int) -> int:
    """Return whether a frame's payload begins with a method, or is a heartbeat: AMQP sections 4.2.3 and 4.2.7."""
    if length < 8 or end - body < min(length, METHOD_HEAD):
        return 0
    size = 0
    for i in range(3, 7):
        size = size << 8 | unmasked(buf, body, i, mask, masked)
    if size + 8 > length:
        return 0
    kind = unmasked(buf, body, 0, mask, masked)
    if kind == HEARTBEAT:
        return 1 if length == 8 and size == 0 and unmasked(buf, body, 7, mask, masked) == FRAME_END else 0
    if kind != METHOD or size < 4 or unmasked(buf, body, 7, mask, masked) or unmasked(buf, body, 9, mask, masked):
        return 0
    class_id = unmasked(buf, body, 8, mask, masked)
    method_id = unmasked(buf, body, 10, mask, masked)
    return 1 if class_id % 5 == 0 and 10 <= class_id <= 90 and 10 <= method_id <= 120 else 0


def unmasked(buf: Octets, body: int, i: int, mask: int, masked: int) -> int:
    """Return an octet of a frame's payload (RFC 6455 section 5.3)."""
    return buf[body + i] ^ buf[mask + i % 4] if masked else buf[body + i] + 0


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
            head_octet(buf[at] + 0, c, d, s)
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
    """An HTTP head is complete: the client's asks for a WebSocket or not, the server's agrees or not.

    Its octets stay held until somebody has spoken in the WebSocket: only that tells whose it is.
    """
    client = c + w.CONN_HEAD + max(0, s[c + w.C_CLIENT]) * w.DIRECTION_WORDS
    said = s[d + w.D_O_KIND]
    if s[c + w.C_CLIENT] < 0 or said & REFUSED or (d == client and not said & ASKED):
        refuse(c, s)
        return
    if d != client and s[client + w.D_O_PHASE] == HTTP_HEAD:
        refuse(c, s)  # the answer to something that was not seen
        return
    s[d + w.D_O_ASKED] = said & IS_MQTT
    begin(d, s)


def opened(protocol: int, c: int, s: Words) -> None:
    """It is known what is spoken in the WebSocket: what was held was its set-up."""
    s[c + w.C_PROTOCOL] = protocol
    s[w.WEBSOCKET_SEEN] += 1
    setup = group_of(s, c) * w.PURPOSE_COUNT + w.P_SETUP
    charge_waiting(s, c + w.C_LINK, setup)
    for side in range(2):
        d = c + w.CONN_HEAD + side * w.DIRECTION_WORDS
        if s[d + w.D_O_HELD]:
            book(s, setup, w.WEBSOCKET, s[d + w.D_O_HELD])
            s[d + w.D_O_HELD] = 0
        if protocol == w.AMQP_OVER_WEBSOCKET:
            amqp.begin(d, s)
        else:
            mqtt.begin(d, s)


def spoken(first: int, c: int, d: int, s: Words) -> int:
    """Return the protocol that a client's first octet in a WebSocket begins, 0 for somebody else's.

    AMQP begins with "AMQP" and more, which is a message of 8 octets (section 4.2.2); MQTT may be told by the
    subprotocol, too, which its clients have to name (MQTT 5.0 section 6).
    """
    if s[c + w.C_CLIENT] < 0 or d != c + w.CONN_HEAD + s[c + w.C_CLIENT] * w.DIRECTION_WORDS:
        return 0
    opcode = s[d + w.D_O_KIND] & 15
    if opcode == BINARY & 15 and first == LETTER_A and s[d + w.D_O_NEED] >= PROTOCOL_HEADER:
        return w.AMQP_OVER_WEBSOCKET
    if s[d + w.D_O_ASKED] or (opcode == BINARY & 15 and first == CONNECT and s[d + w.D_O_NEED] >= SMALLEST_CONNECT):
        return w.OVER_WEBSOCKET
    return 0


def refuse(c: int, s: Words) -> None:
    """It is HTTP and no more: other protocols' octets, and so is what either side had begun."""
    s[c + w.C_PROTOCOL] = w.PLAIN_OTHER
    for side in range(2):
        d = c + w.CONN_HEAD + side * w.DIRECTION_WORDS
        if s[d + w.D_O_HELD]:
            book(s, CLASS_OTHER, w.OTHER, s[d + w.D_O_HELD])
            s[d + w.D_O_HELD] = 0
    charge_waiting(s, c + w.C_LINK, CLASS_OTHER)


def head_octet(octet: int, c: int, d: int, s: Words) -> None:
    """Section 5.2: two octets, up to eight of length, four of mask. D_O_NEED counts down."""
    place = s[d + w.D_O_TURN]
    s[d + w.D_O_TURN] = place + 1
    s[d + w.D_O_NEED] -= 1
    s[d + w.D_O_HELD] += 1
    if place == 0:
        s[d + w.D_O_KIND] = octet
        if octet & 0x70 or octet & 15 not in (0, 1, 2, 8, 9, 10):
            malformed(c, d, s)
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
            malformed(c, d, s)
            return
    if s[d + w.D_O_NEED] == 0:
        head_done(c, d, s)


def head_done(c: int, d: int, s: Words) -> None:
    """The header is there: expect the payload, if there is any."""
    length = s[d + w.D_O_VALUE]
    if length == 0:
        book_held(c, d, s)
        begin(d, s)
        return
    s[d + w.D_O_PHASE] = BODY
    s[d + w.D_O_NEED] = length
    s[d + w.D_O_TURN] = 0


def book_held(c: int, d: int, s: Words) -> None:
    """Book the octets of a frame's header to the purpose of the frame; while nobody has spoken, they wait."""
    if s[d + w.D_O_HELD] and s[c + w.C_PROTOCOL] != w.HTTP:
        book(s, class_of(c, d, s), w.WEBSOCKET, s[d + w.D_O_HELD])
        s[d + w.D_O_HELD] = 0


def class_of(c: int, d: int, s: Words) -> int:
    """Return the class of a frame: that of the packet in it, or a control frame's own."""
    opcode = s[d + w.D_O_KIND] & 15
    own = group_of(s, c) * w.PURPOSE_COUNT
    if opcode > CLOSE:
        return own + w.P_KEEP_ALIVE
    kind = s[d + w.D_CLASS]
    return own + w.P_SETUP if opcode == CLOSE or kind // w.PURPOSE_COUNT == w.G_OTHER else kind


def malformed(c: int, d: int, s: Words) -> None:
    """Octets that are no frame: look for the next one; before anybody has spoken, it is no WebSocket of ours."""
    if s[c + w.C_PROTOCOL] == w.HTTP:
        refuse(c, s)
        return
    book(s, CLASS_UNDECODED, w.UNDECODED, s[d + w.D_O_HELD])
    s[d + w.D_O_HELD] = 0
    s[w.MALFORMED] += 1
    finish_inside(c, d, s)
    lose_sync(s[c + w.C_PROTOCOL], d, s)


def finish_inside(c: int, d: int, s: Words) -> None:
    """What is spoken in the WebSocket ends."""
    if s[c + w.C_PROTOCOL] == w.AMQP_OVER_WEBSOCKET:
        amqp.finish(d, s)
    else:
        mqtt.finish(d, s)


def body(buf: Octets, at: int, take: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Give octets of a frame's payload, unmasked, to what is spoken."""
    control = s[d + w.D_O_KIND] & 15 >= CLOSE
    turn = s[d + w.D_O_TURN]
    mask = s[d + w.D_O_MASK] if s[d + w.D_O_KIND] & 16 else 0
    if s[c + w.C_PROTOCOL] == w.HTTP and not control:
        protocol = spoken((buf[at] ^ (mask >> 8 * (3 - turn % 4))) & 255, c, d, s)
        if protocol == 0:
            refuse(c, s)
            book(s, CLASS_OTHER, w.OTHER, take)
            return
        opened(protocol, c, s)
    if s[c + w.C_PROTOCOL] == w.HTTP:
        s[d + w.D_O_HELD] += take
    elif control:
        book(s, class_of(c, d, s), w.WEBSOCKET, take)
    elif mask:
        for i in range(take):
            m[w.M_UNMASKED + i] = (buf[at + i] ^ (mask >> 8 * (3 - (turn + i) % 4))) & 255
        feed_inside(m, w.M_UNMASKED, w.M_UNMASKED + take, c, d, s, m)
    else:
        feed_inside(buf, at, at + take, c, d, s, m)
    s[d + w.D_O_TURN] = (turn + take) % 4
    s[d + w.D_O_NEED] -= take
    if control or s[c + w.C_PROTOCOL] != w.AMQP_OVER_WEBSOCKET or s[d + w.D_UNBOOKED] == 0:
        book_held(c, d, s)  # AMQP: a frame's first octets do not tell yet what it is for
    if s[d + w.D_O_NEED] == 0:
        begin(d, s)


def feed_inside(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Walk octets of what is spoken in the WebSocket."""
    if s[c + w.C_PROTOCOL] == w.AMQP_OVER_WEBSOCKET:
        amqp.feed(buf, at, end, c, d, s, m)
    else:
        mqtt.feed(buf, at, end, c, d, s, m)


def lose(count: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Octets are missing from the stream: go on inside the frame where it is longer."""
    phase = s[d + w.D_O_PHASE]
    if s[c + w.C_PROTOCOL] == w.HTTP:
        refuse(c, s)
    elif phase == BODY and count <= s[d + w.D_O_NEED]:
        s[d + w.D_O_NEED] -= count
        s[d + w.D_O_TURN] = (s[d + w.D_O_TURN] + count) % 4
        if s[d + w.D_O_KIND] & 15 >= CLOSE:
            pass
        elif s[c + w.C_PROTOCOL] == w.AMQP_OVER_WEBSOCKET:
            amqp.lose(count, c, d, s, m)
        else:
            mqtt.lose(count, c, d, s, m)
        if s[d + w.D_O_NEED] == 0:
            unbooked(d, s)
            begin(d, s)
    else:
        finish(c, d, s)
        lose_sync(s[c + w.C_PROTOCOL], d, s)


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
    finish_inside(c, d, s)
