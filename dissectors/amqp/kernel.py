"""Kernel: AMQP 0-9-1 on a stream of octets, whole or in any pieces. Books every octet; keeps only exchange and key.

The same frames as in codec.py, walked instead of decoded. Section 4.2.3 of the specification, and the methods' fields
from tables.py, which steps.py turns into numbers.
"""

from mqproof.dissectors.amqp.counting import count_role, frame_done, method_done, role_of
from mqproof.dissectors.amqp.finding import BODY, HEADER, HEADER_FIXED, HEARTBEAT, MAX_FRAME, METHOD, resync
from mqproof.dissectors.amqp.tables import FRAME_END
from mqproof.dissectors.amqp.whole import whole_frame
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.booking import book
from mqproof.dissectors.packets.keys import keep, start_key
from mqproof.dissectors.packets.state import Octets, Words

# Phases: where in a frame the next octet stands.
SYNC, HEAD, IDS, STEP, SHORT_LENGTH, SHORT, REST, CONTENT, PROPERTIES, PAYLOAD, END = range(11)
PROTOCOL = 11

HEAD_OCTETS = 7
LETTER_A = 65


def feed(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Walk the next octets of a direction's stream."""
    while True:
        if s[d + w.D_NEED] == 0:
            advance(c, d, s, m)
            continue
        if at >= end:
            return
        phase = s[d + w.D_PHASE]
        if phase == SYNC:
            found = resync(buf, at, end)
            if found > at:
                book(s, w.G_OTHER * w.PURPOSE_COUNT + w.P_UNDECODED, w.UNDECODED, found - at)
            if found < end:
                s[w.RESYNCS] += 1
                begin(d, s)
            at = found
        elif phase in (HEAD, IDS):
            stop = at
            if phase == HEAD and s[d + w.D_NEED] == HEAD_OCTETS:
                stop = whole_frame(buf, at, end, c, d, s, m)
            if stop > at:
                begin(d, s)
                at = stop
            else:
                head_octet(buf[at], phase, d, s)
                at += 1
        elif phase == END:
            end_octet(buf[at], c, d, s)
            at += 1
        else:
            take = min(s[d + w.D_NEED], end - at)
            consume(buf, at, take, phase, d, s, m)
            at += take


def begin(d: int, s: Words) -> None:
    """Expect a frame's first octet."""
    s[d + w.D_PHASE] = HEAD
    s[d + w.D_NEED] = HEAD_OCTETS
    s[d + w.D_VALUE] = 0
    s[d + w.D_KIND] = 0
    s[d + w.D_DAMAGED] = 0
    s[d + w.D_PAYLOAD] = 0
    s[d + w.D_UNBOOKED] = 0


def head_octet(octet: int, phase: int, d: int, s: Words) -> None:
    """The 7 octets of a frame's header and the ids of its method: not booked until they tell the purpose."""
    need = s[d + w.D_NEED]
    s[d + w.D_UNBOOKED] += 1
    s[d + w.D_NEED] = need - 1
    if phase == HEAD and need == HEAD_OCTETS:
        s[d + w.D_KIND] = octet
        if octet == LETTER_A:
            s[d + w.D_PHASE] = PROTOCOL
        elif octet not in (METHOD, HEADER, BODY, HEARTBEAT):
            malformed(d, s)
        return
    s[d + w.D_VALUE] = s[d + w.D_VALUE] << 8 | octet
    if phase == HEAD and need == 5:
        s[d + w.D_CHANNEL] = s[d + w.D_VALUE]
        s[d + w.D_VALUE] = 0


def book_head(group_purpose: int, d: int, s: Words) -> None:
    """Book what was held back: the frame's header, and beyond it the ids of a method."""
    book(s, group_purpose, w.FRAMING, min(HEAD_OCTETS, s[d + w.D_UNBOOKED]))
    if s[d + w.D_UNBOOKED] > HEAD_OCTETS:
        book(s, group_purpose, w.VARIABLE_HEADER, s[d + w.D_UNBOOKED] - HEAD_OCTETS)
    s[d + w.D_UNBOOKED] = 0
    s[d + w.D_CLASS] = group_purpose


def end_octet(octet: int, c: int, d: int, s: Words) -> None:
    """Section 4.2.3: the frame-end octet, without which the frame is none."""
    if octet != FRAME_END:
        book(s, w.G_OTHER * w.PURPOSE_COUNT + w.P_UNDECODED, w.UNDECODED, 1)
        malformed(d, s)
        return
    book(s, s[d + w.D_CLASS], w.FRAMING, 1)
    frame_done(c, d, s)
    begin(d, s)


def malformed(d: int, s: Words) -> None:
    """Octets that cannot be AMQP: count them and look for the next frame."""
    s[w.MALFORMED] += 1
    lose_sync(d, s)


def lose_sync(d: int, s: Words) -> None:
    """Look for the next frame in what comes; what was held back stays undecoded."""
    if s[d + w.D_UNBOOKED]:
        kind = w.G_OTHER * w.PURPOSE_COUNT + w.P_UNDECODED
        book(s, kind, w.UNDECODED, s[d + w.D_UNBOOKED])
        s[d + w.D_UNBOOKED] = 0
    s[d + w.D_PHASE] = SYNC
    s[d + w.D_NEED] = 1


def consume(buf: Octets, at: int, take: int, phase: int, d: int, s: Words, m: Octets) -> None:
    """Take octets of a phase that is a run of known length."""
    s[d + w.D_NEED] -= take
    step = s[d + w.D_STEP]
    if phase == PROTOCOL:
        s[d + w.D_UNBOOKED] += take
        return
    s[d + w.D_LEFT] -= take
    layer = w.VARIABLE_HEADER
    if phase == PAYLOAD:
        layer = w.PAYLOAD
    elif phase == PROPERTIES:
        layer = w.PROPERTIES
    elif phase in (SHORT_LENGTH, SHORT) and step in (w.STEP_EXCHANGE, w.STEP_ROUTING_KEY):
        layer = w.ROUTING
        if phase == SHORT or step == w.STEP_EXCHANGE:
            keep(buf, at, take, d, s, m)  # the exchange's length tells where it ends and the key begins
    if phase in (CONTENT, SHORT_LENGTH) or (phase == STEP and step in (w.STEP_TAG, w.STEP_BITS)):
        value = s[d + w.D_VALUE]
        for i in range(take):
            value = (value & 0x7FFFFFFFFFFFFF) << 8 | buf[at + i]  # the words of ``s`` have a sign
        s[d + w.D_VALUE] = value
    book(s, s[d + w.D_CLASS], layer, take)


def enter(phase: int, need: int, d: int, s: Words) -> None:
    """Begin a phase. One that needs more than the frame has left makes the frame malformed."""
    if need > s[d + w.D_LEFT]:
        malformed(d, s)
        return
    s[d + w.D_PHASE] = phase
    s[d + w.D_NEED] = need
    s[d + w.D_VALUE] = 0


def advance(c: int, d: int, s: Words, m: Octets) -> None:
    """A phase is complete: go to the next one."""
    phase = s[d + w.D_PHASE]
    if phase == HEAD:
        frame_begins(d, s)
    elif phase == IDS:
        method_begins(d, s)
    elif phase == STEP:
        if s[d + w.D_STEP] == w.STEP_TAG:
            s[d + w.D_ID] = s[d + w.D_VALUE]
        elif s[d + w.D_STEP] == w.STEP_BITS:
            s[d + w.D_BITS] = s[d + w.D_VALUE]
        next_step(d, s)
    elif phase == SHORT_LENGTH:
        enter(SHORT, s[d + w.D_VALUE], d, s)
    elif phase == SHORT:
        next_step(d, s)
    elif phase == CONTENT:
        s[d + w.D_BODY] = s[d + w.D_VALUE]
        enter(PROPERTIES, s[d + w.D_LEFT], d, s)
    elif phase == PROTOCOL:
        protocol_header(c, d, s)
    else:
        if phase in (REST, PROPERTIES) and s[d + w.D_KIND] != BODY:
            arguments_done(d, s, m)
        s[d + w.D_PHASE] = END
        s[d + w.D_NEED] = 1


def protocol_header(c: int, d: int, s: Words) -> None:
    """Section 4.2.2: the 8 octets that open a connection; one octet was read as a frame type, one is still to come."""
    s[d + w.D_NEED] = 0
    if s[d + w.D_UNBOOKED] < 8:
        s[d + w.D_NEED] = 8 - s[d + w.D_UNBOOKED]
        return
    s[d + w.D_UNBOOKED] = 0
    book(s, w.G_AMQP * w.PURPOSE_COUNT + w.P_SETUP, w.FRAMING, 8)
    row = w.KINDS + w.K_AMQP_PROTOCOL_HEADER * w.KIND_WORDS
    s[row + w.N_COUNT] += 1
    s[row + w.N_BYTES] += 8
    count_role(row, role_of(c, d, s), s)
    s[c + w.C_FRAMES] += 1
    begin(d, s)


def frame_begins(d: int, s: Words) -> None:
    """The 7 octets are there: which frame, how long."""
    size = s[d + w.D_VALUE]
    kind = s[d + w.D_KIND]
    s[d + w.D_SIZE] = size + 8
    s[d + w.D_LEFT] = size
    if size > MAX_FRAME or (kind == METHOD and size < 4) or (kind == HEADER and size < HEADER_FIXED + 2):
        malformed(d, s)
    elif kind == METHOD:
        s[d + w.D_PHASE] = IDS
        s[d + w.D_NEED] = 4
        s[d + w.D_VALUE] = 0
    elif kind == HEARTBEAT:
        book_head(w.G_AMQP * w.PURPOSE_COUNT + w.P_KEEP_ALIVE, d, s)
        enter(REST, size, d, s)
    else:
        book_head(w.G_AMQP * w.PURPOSE_COUNT + w.P_APPLICATION, d, s)
        if kind == HEADER:
            enter(CONTENT, HEADER_FIXED, d, s)
        else:
            s[d + w.D_PAYLOAD] = size
            enter(PAYLOAD, size, d, s)


def method_begins(d: int, s: Words) -> None:
    """Class and method id are there: find the method, book what was held back, walk its arguments."""
    class_id = s[d + w.D_VALUE] >> 16
    method_id = s[d + w.D_VALUE] & 0xFFFF
    number = 0
    if class_id % 5 == 0 and class_id < 160 and method_id < 128:
        number = s[w.METHOD_INDEX + class_id // 5 * 128 + method_id]
    s[d + w.D_METHOD] = number - 1
    s[d + w.D_LEFT] -= 4
    start_key(d, s)
    if number == 0:
        book_head(w.G_AMQP * w.PURPOSE_COUNT + w.P_SETUP, d, s)
        enter(REST, s[d + w.D_LEFT], d, s)
        return
    row = w.METHODS + (number - 1) * w.METHOD_WORDS
    book_head(w.G_AMQP * w.PURPOSE_COUNT + s[row + w.A_PURPOSE], d, s)
    s[d + w.D_SHIFT] = 0
    do_step(s[row + w.A_STEPS], d, s)


def next_step(d: int, s: Words) -> None:
    """Go to the next of the method's steps."""
    s[d + w.D_SHIFT] += 1
    do_step(s[w.METHODS + s[d + w.D_METHOD] * w.METHOD_WORDS + w.A_STEPS + s[d + w.D_SHIFT]], d, s)


def do_step(step: int, d: int, s: Words) -> None:
    """Begin one step of a method's arguments."""
    s[d + w.D_STEP] = step
    if step > 0:
        enter(STEP, step, d, s)
    elif step == w.STEP_TAG:
        enter(STEP, 8, d, s)
    elif step == w.STEP_BITS:
        enter(STEP, 1, d, s)
    elif step == w.STEP_REST:
        enter(REST, s[d + w.D_LEFT], d, s)
    else:
        enter(SHORT_LENGTH, 1, d, s)


def arguments_done(d: int, s: Words, m: Octets) -> None:
    """A method or a content header is complete but for its end."""
    if s[d + w.D_KIND] == METHOD and s[d + w.D_METHOD] >= 0 and s[d + w.D_DAMAGED] == 0:
        method_done(d, s, m)


def lose(count: int, c: int, d: int, s: Words, m: Octets) -> None:
    """Octets are missing from the stream: go on inside the frame where it is longer, else look for the next one."""
    phase = s[d + w.D_PHASE]
    if phase in (SYNC, HEAD, IDS, PROTOCOL) or count > s[d + w.D_LEFT] + 1:
        if phase not in (SYNC, HEAD) or s[d + w.D_UNBOOKED]:
            s[w.INCOMPLETE] += 1
        lose_sync(d, s)
        return
    s[d + w.D_DAMAGED] = 1
    if count == s[d + w.D_LEFT] + 1:  # the frame's end octet is missing too, and nothing else
        frame_done(c, d, s)
        begin(d, s)
        return
    s[d + w.D_LEFT] -= count
    if count <= s[d + w.D_NEED] and phase in (PAYLOAD, REST, PROPERTIES):
        s[d + w.D_NEED] -= count
    else:
        s[d + w.D_PHASE] = REST
        s[d + w.D_NEED] = s[d + w.D_LEFT]
    while s[d + w.D_NEED] == 0:
        advance(c, d, s, m)


def finish(d: int, s: Words) -> None:
    """The stream ends: a frame that has begun stays incomplete."""
    if s[d + w.D_PHASE] not in (SYNC, HEAD) or s[d + w.D_UNBOOKED]:
        s[w.INCOMPLETE] += 1
    lose_sync(d, s)
