"""Compiled: batches of messages laid out, sockets' buffers walked, the payload format of ``messages.py`` throughout."""

import zlib
from typing import Any

import numpy as np
from mqproof.dissectors.amqp.tables import FRAME_OVERHEAD, METHODS
from mqproof.loadtests.messages import MAGIC, SMALLEST
from numba import njit

HEAD = SMALLEST - 4  # octets before the checksum
INTACT, REPEAT, STRANGE = 1, 2, 4  # flags of a message that was read
# What a walk finds beside messages; each is a row of kind, number (packet id, delivery tag) and "multiple".
CONFIRMED, REFUSED, RECEIVED, RELEASED, COMPLETED, OWED_ACK, OWED_REC, BLOCKED, UNBLOCKED, CLOSED, EMPTY = range(11)


def _table() -> Any:
    table = np.zeros((8, 256), np.uint32)
    for value in range(256):
        rest = value
        for _ in range(8):
            rest = rest >> 1 ^ (0xEDB88320 if rest & 1 else 0)
        table[0, value] = rest
    for row in range(1, 8):
        table[row] = table[row - 1] >> 8 ^ table[0][table[row - 1] & 255]
    return table


TABLE = _table()
_MAGIC = int.from_bytes(MAGIC)


@njit(cache=True, inline="always")
def crc(rest: Any, buf: Any, at: Any, stop: Any) -> Any:
    """Go on with a CRC-32 (eight octets at a time); it begins and ends with the complement."""
    while stop - at >= 8:
        low = rest ^ (
            np.uint32(buf[at]) | np.uint32(buf[at + 1]) << np.uint32(8)
            | np.uint32(buf[at + 2]) << np.uint32(16) | np.uint32(buf[at + 3]) << np.uint32(24)
        )  # fmt: skip
        rest = (
            TABLE[7, low & 255] ^ TABLE[6, low >> np.uint32(8) & 255]
            ^ TABLE[5, low >> np.uint32(16) & 255] ^ TABLE[4, low >> np.uint32(24)]
            ^ TABLE[3, buf[at + 4]] ^ TABLE[2, buf[at + 5]] ^ TABLE[1, buf[at + 6]] ^ TABLE[0, buf[at + 7]]
        )  # fmt: skip
        at += 8
    while at < stop:
        rest = rest >> np.uint32(8) ^ TABLE[0, (rest ^ buf[at]) & 255]
        at += 1
    return rest


@njit(cache=True, inline="always")
def put(buf: Any, at: int, value: Any, width: int) -> None:
    """Write a big-endian number."""
    for index in range(width):
        buf[at + width - 1 - index] = value >> 8 * index & 255


@njit(cache=True, inline="always")
def get(buf: Any, at: Any, width: int) -> Any:
    """Read a big-endian number."""
    value: Any = 0
    for index in range(width):
        value = value << 8 | np.int64(buf[at + index])
    return value


@njit(cache=True)
def fill(
    rows: Any, count: int, at: int, size: int, publisher: int, first: int, intended: int, step: float, id_at: int
) -> None:
    """Write ``count`` messages into their rows: the payload at ``at``, an MQTT packet id at ``id_at`` (-1: none)."""
    for index in range(count):
        row = rows[index]
        put(row, at, _MAGIC, 4)
        put(row, at + 4, publisher, 4)
        put(row, at + 8, first + index, 8)
        put(row, at + 16, intended + np.int64(step * index), 8)
        check = crc(np.uint32(0xFFFFFFFF), row, at, at + HEAD)
        check = crc(check, row, at + SMALLEST, at + size)
        put(row, at + HEAD, np.int64(check ^ np.uint32(0xFFFFFFFF)), 4)
        if id_at >= 0:
            put(row, id_at, (first + index) % 65535 + 1, 2)


@njit(cache=True, inline="always")
def note(buf: Any, at: Any, stop: Any, repeat: int, messages: Any, index: int) -> None:
    """Read one payload into a row: publisher, sequence, intended time, flags."""
    row = messages[index]
    row[3] = STRANGE
    if stop - at < SMALLEST or get(buf, at, 4) != _MAGIC:
        return
    check = crc(np.uint32(0xFFFFFFFF), buf, at, at + HEAD)
    check = crc(check, buf, at + SMALLEST, stop) ^ np.uint32(0xFFFFFFFF)
    if np.int64(check) != get(buf, at + HEAD, 4):
        return
    row[0] = get(buf, at + 4, 4)
    row[1] = get(buf, at + 8, 8)
    row[2] = get(buf, at + 16, 8)
    row[3] = INTACT | repeat


@njit(cache=True, inline="always")
def _varint(buf: Any, at: Any, end: Any) -> Any:
    """Read a variable byte integer; return it and where it ends, or (-1, at) where it is not whole."""
    value: Any = 0
    shift = 0
    while at < end and shift < 28:
        value |= (np.int64(buf[at]) & 127) << shift
        shift += 7
        at += 1
        if buf[at - 1] < 128:
            return value, at
    return np.int64(-1), at


@njit(cache=True, inline="always")
def _walk_mqtt(buf: Any, at: Any, end: int, messages: Any, events: Any, found: Any, is_five: bool) -> Any:
    m = e = 0
    while end - at >= 2 and m < len(messages) and e < len(events):
        length, body = _varint(buf, at + 1, end)
        stop = body + length
        if length < 0 or stop > end:
            break
        kind = buf[at] >> 4
        if kind == 3:
            payload = body + 2 + get(buf, body, 2)
            qos = buf[at] >> 1 & 3
            if qos:
                events[e, 0] = OWED_ACK if qos == 1 else OWED_REC
                events[e, 1] = get(buf, payload, 2)
                e += 1
                payload += 2
            if is_five:
                properties, payload = _varint(buf, payload, stop)
                payload += properties
            note(buf, payload, stop, REPEAT if buf[at] & 8 else 0, messages, m)
            m += 1
        elif 4 <= kind <= 7:
            events[e, 0] = CONFIRMED if kind == 4 else RECEIVED if kind == 5 else RELEASED if kind == 6 else COMPLETED
            if is_five and length > 2 and buf[body + 2] >= 128 and kind <= 5:
                events[e, 0] = REFUSED
            events[e, 1] = get(buf, body, 2)
            e += 1
        elif is_five and kind == 14:
            events[e, 0] = CLOSED
            events[e, 1] = at
            e += 1
        at = stop
    found[0] = m
    found[1] = e
    return at


@njit(cache=True)
def walk_mqtt(buf: Any, at: Any, end: int, messages: Any, events: Any, found: Any) -> Any:
    """Walk whole MQTT 3.1.1 packets; ``found`` gets the counts of messages and events. Return where the rest begins."""
    return _walk_mqtt(buf, at, end, messages, events, found, False)


@njit(cache=True)
def walk_mqtt_5(buf: Any, at: Any, end: int, messages: Any, events: Any, found: Any) -> Any:
    """Walk whole MQTT 5.0 packets, as :func:`walk_mqtt` does."""
    return _walk_mqtt(buf, at, end, messages, events, found, True)


_BASIC, _CHANNEL, _CONNECTION = METHODS["basic.ack"].class_id, METHODS["channel.close"].class_id, 10
_DELIVER, _ACK, _NACK = (METHODS[name].method_id for name in ("basic.deliver", "basic.ack", "basic.nack"))
_GET_OK, _GET_EMPTY = METHODS["basic.get-ok"].method_id, METHODS["basic.get-empty"].method_id
_CHANNEL_CLOSE, _CLOSE = METHODS["channel.close"].method_id, METHODS["connection.close"].method_id
_BLOCKED, _UNBLOCKED = METHODS["connection.blocked"].method_id, METHODS["connection.unblocked"].method_id


@njit(cache=True)
def walk_amqp(buf: Any, at: Any, end: int, messages: Any, events: Any, found: Any) -> Any:
    """Walk whole AMQP frames and whole contents of one body frame. Returns where the rest begins."""
    m = e = 0
    while end - at >= FRAME_OVERHEAD and m < len(messages) and e < len(events):
        stop = at + FRAME_OVERHEAD + get(buf, at + 3, 4)
        if stop > end:
            break
        if buf[at] != 1:  # a heartbeat, or a body beyond the first
            at = stop
            continue
        class_id, method_id = get(buf, at + 7, 2), get(buf, at + 9, 2)
        if class_id == _BASIC and method_id in (_DELIVER, _GET_OK):
            if end - stop < FRAME_OVERHEAD + 14:
                break
            head = stop
            body = head + FRAME_OVERHEAD + get(buf, head + 3, 4)
            size = get(buf, head + 11, 8)
            last = body + (FRAME_OVERHEAD + size if size else 0)
            if last > end:
                break
            tag_at = at + 11  # the delivery tag, behind the consumer tag where there is one
            if method_id == _DELIVER:
                tag_at += 1 + np.int64(buf[at + 11])
            events[e, 0] = OWED_ACK
            events[e, 1] = get(buf, tag_at, 8)
            e += 1
            note(buf, body + 7, body + 7 + size, REPEAT if buf[tag_at + 8] else 0, messages, m)
            m += 1
            stop = last
        elif class_id == _BASIC and method_id in (_ACK, _NACK):
            events[e, 0] = CONFIRMED if method_id == _ACK else REFUSED
            events[e, 1] = get(buf, at + 11, 8)
            events[e, 2] = buf[at + 19] & 1
            e += 1
        elif class_id == _BASIC and method_id == _GET_EMPTY:
            events[e, 0] = EMPTY
            e += 1
        elif (class_id, method_id) in ((_CONNECTION, _CLOSE), (_CHANNEL, _CHANNEL_CLOSE)):
            events[e, 0] = CLOSED
            events[e, 1] = at
            e += 1
        elif class_id == _CONNECTION and method_id in (_BLOCKED, _UNBLOCKED):
            events[e, 0] = BLOCKED if method_id == _BLOCKED else UNBLOCKED
            e += 1
        at = stop
    found[0] = m
    found[1] = e
    return at


def warm() -> None:
    """Compile, or load from the cache, before users start: a compilation would stall them all."""
    rows = np.zeros((1, 64), np.uint8)
    messages, events, found = np.zeros((4, 4), np.int64), np.zeros((4, 3), np.int64), np.zeros(2, np.int64)
    fill(rows, 1, 8, 40, 1, 0, 1, 0.0, -1)
    for walk in (walk_mqtt, walk_mqtt_5, walk_amqp):
        walk(np.zeros(64, np.uint8), 0, 0, messages, events, found)
    made = rows[0, 8:48].tobytes()
    head, check, rest = made[:HEAD], made[HEAD:SMALLEST], made[SMALLEST:]
    if zlib.crc32(rest, zlib.crc32(head)) != int.from_bytes(check):
        raise RuntimeError("the compiled checksum is wrong on this machine")
