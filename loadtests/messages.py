"""The payload of a load message: publisher, sequence, intended time and a checksum, padded to any size."""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"MQP1"
_HEAD: Final = struct.Struct(">4sIQQ")  # magic, publisher, sequence, intended time in nanoseconds
_CHECK: Final = struct.Struct(">I")  # CRC-32 of everything else
SMALLEST: Final = _HEAD.size + _CHECK.size  # octets


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a message says of itself. ``intended``: nanoseconds on the clock that all workers of a machine share."""

    publisher: int
    sequence: int
    intended: int


def write(stamp: Stamp, size: int = SMALLEST) -> bytes:
    """Return a payload of ``size`` octets, at least :data:`SMALLEST`."""
    head = _HEAD.pack(MAGIC, stamp.publisher, stamp.sequence, stamp.intended)
    padding = bytes(max(size - SMALLEST, 0))
    return head + _CHECK.pack(zlib.crc32(padding, zlib.crc32(head))) + padding


def read(payload: bytes) -> Stamp | None:
    """Return what the payload says, or None when it is not one of ours or was changed on its way."""
    if len(payload) < SMALLEST or payload[:4] != MAGIC:
        return None
    (check,) = _CHECK.unpack_from(payload, _HEAD.size)
    if check != zlib.crc32(payload[SMALLEST:], zlib.crc32(payload[: _HEAD.size])):
        return None
    return Stamp(*_HEAD.unpack_from(payload)[1:])
