"""Kernel: AMQP frames that stand whole in one piece of the stream, as nearly all do, each taken in one go.

What is not whole, or not as it should be, is left to kernel.py, which takes any pieces and says what is wrong. Both
must come to the same books. Section 4.2.3.
"""

from mqproof.dissectors.amqp.counting import frame_done, method_done
from mqproof.dissectors.amqp.finding import BODY, HEADER, HEADER_FIXED, HEARTBEAT, METHOD
from mqproof.dissectors.amqp.tables import FRAME_END
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.booking import book
from mqproof.dissectors.packets.keys import keep, start_key
from mqproof.dissectors.packets.octets import long, short
from mqproof.dissectors.packets.state import Octets, Words

OVERHEAD = 8  # a frame's header and its end octet
CLASS_APPLICATION = w.G_AMQP * w.PURPOSE_COUNT + w.P_APPLICATION
CLASS_KEEP_ALIVE = w.G_AMQP * w.PURPOSE_COUNT + w.P_KEEP_ALIVE
CLASS_SETUP = w.G_AMQP * w.PURPOSE_COUNT + w.P_SETUP


def whole_frame(buf: Octets, at: int, end: int, c: int, d: int, s: Words, m: Octets) -> int:
    """Book the frame at ``at`` and return where it ends; ``at``, and nothing booked, where it is not all there."""
    if end - at < OVERHEAD:
        return at
    size = long(buf, at + 3)
    stop = at + OVERHEAD + size
    if stop > end or buf[stop - 1] != FRAME_END:
        return at
    kind = buf[at] + 0
    purpose = CLASS_APPLICATION
    s[d + w.D_CHANNEL] = short(buf, at + 1)
    if kind == METHOD and size >= 4:
        purpose = whole_method(buf, at + 7, stop - 1, d, s, m)
        if purpose == w.NO_CLASS:
            return at
    elif kind == BODY:
        book(s, purpose, w.PAYLOAD, size)
        s[d + w.D_PAYLOAD] = size
    elif kind == HEADER and size >= HEADER_FIXED + 2:
        book(s, purpose, w.VARIABLE_HEADER, HEADER_FIXED)
        book(s, purpose, w.PROPERTIES, size - HEADER_FIXED)
    elif kind == HEARTBEAT:
        purpose = CLASS_KEEP_ALIVE
        book(s, purpose, w.VARIABLE_HEADER, size)
    else:
        return at
    book(s, purpose, w.FRAMING, OVERHEAD)
    s[d + w.D_KIND] = kind
    s[d + w.D_CLASS] = purpose
    s[d + w.D_SIZE] = size + OVERHEAD
    frame_done(c, d, s)
    return stop


def whole_method(buf: Octets, at: int, end: int, d: int, s: Words, m: Octets) -> int:
    """Book a method's ids and arguments, which stand from ``at`` to ``end``. Returns its class, or NO_CLASS: no fit."""
    class_id = short(buf, at)
    method_id = short(buf, at + 2)
    number = 0
    if class_id % 5 == 0 and class_id < 160 and method_id < 128:
        number = s[w.METHOD_INDEX + class_id // 5 * 128 + method_id]
    s[d + w.D_METHOD] = number - 1
    if number == 0:
        book(s, CLASS_SETUP, w.VARIABLE_HEADER, end - at)
        return CLASS_SETUP
    row = w.METHODS + (number - 1) * w.METHOD_WORDS
    routing = arguments(buf, at + 4, end, row + w.A_STEPS, d, s, m)
    if routing < 0:
        return w.NO_CLASS
    purpose = w.G_AMQP * w.PURPOSE_COUNT + s[row + w.A_PURPOSE]
    book(s, purpose, w.ROUTING, routing)
    book(s, purpose, w.VARIABLE_HEADER, end - at - routing)
    method_done(d, s, m)
    return purpose


def arguments(buf: Octets, at: int, end: int, step: int, d: int, s: Words, m: Octets) -> int:
    """Keep the key and the bits of a method's arguments; return the octets that are routing, -1 where they do not fit.

    ``step``: where the method's steps stand.
    """
    routing = 0
    start_key(d, s)
    while s[step] != w.STEP_REST:
        what = s[step]
        if at >= end:
            return -1
        size = what
        if what == w.STEP_TAG:
            size = 8
        elif what == w.STEP_BITS:
            size = 1
            s[d + w.D_BITS] = buf[at]
        elif what < 0:
            size = buf[at] + 1
        if at + size > end:
            return -1
        if what == w.STEP_EXCHANGE:
            keep(buf, at, size, d, s, m)
        elif what == w.STEP_ROUTING_KEY:
            keep(buf, at + 1, size - 1, d, s, m)
        if what in (w.STEP_EXCHANGE, w.STEP_ROUTING_KEY):
            routing += size
        at += size
        step += 1
    return routing
