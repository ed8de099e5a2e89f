"""Kernel: the table of topics and routing keys, bounded as state.py tells."""

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.state import Octets, Words


def keep(buf: Octets, at: int, count: int, d: int, s: Words, m: Octets) -> None:
    """Append octets to the direction's key; what is beyond KEY_OCTETS is only counted."""
    length = s[d + w.D_KEY_LENGTH]
    kept = min(count, w.KEY_OCTETS - length)
    if kept > 0:
        if length + kept > w.SHORT_KEY and s[d + w.D_KEY_AT] == s[d + w.D_SCRATCH]:
            move_key(length, d, s, m)
        base = s[d + w.D_KEY_AT] + length
        for i in range(kept):
            m[base + i] = buf[at + i]
        s[d + w.D_KEY_LENGTH] = length + kept
    s[d + w.D_KEY_FULL] += count


def move_key(length: int, d: int, s: Words, m: Octets) -> None:
    """Take the ``length`` octets that are there of a direction's key to where a long one has room."""
    short = s[d + w.D_SCRATCH]
    long = w.M_LONG_KEYS + (short - w.M_DIRECTIONS) // w.DIRECTION_OCTETS * w.KEY_OCTETS
    for i in range(length):
        m[long + i] = m[short + i]
    s[d + w.D_KEY_AT] = long


def start_key(d: int, s: Words) -> None:
    """Begin a new key."""
    s[d + w.D_KEY_AT] = s[d + w.D_SCRATCH]
    s[d + w.D_KEY_LENGTH] = 0
    s[d + w.D_KEY_FULL] = 0


def find_key(group: int, d: int, s: Words, m: Octets) -> int:
    """Return the entry of the direction's key, a new one if need be."""
    base = s[d + w.D_KEY_AT]
    length = s[d + w.D_KEY_LENGTH]
    hashed = 2166136261 ^ group
    for i in range(length):
        hashed = ((hashed ^ m[base + i]) * 16777619) & 0xFFFFFFFF
    mask = w.KEY_INDEX_SIZE - 1
    at = (hashed ^ hashed >> 15) & mask
    while s[w.KEY_INDEX + at] != 0:
        entry = w.KEY_TABLE + (s[w.KEY_INDEX + at] - 1) * w.KEY_WORDS
        if s[entry + w.KEY_HASH] == hashed and same_key(base, length, group, entry, d, s, m):
            return entry
        at = (at + 1) & mask
    if s[w.KEYS_USED] >= w.KEY_SLOTS:
        purge(s)
        return find_key_again(hashed, group, d, s, m)
    return new_entry(at, hashed, group, d, s, m)


def find_key_again(hashed: int, group: int, d: int, s: Words, m: Octets) -> int:
    """Enter a key that is known to be absent, after a purge has made room."""
    mask = w.KEY_INDEX_SIZE - 1
    at = (hashed ^ hashed >> 15) & mask
    while s[w.KEY_INDEX + at] != 0:
        at = (at + 1) & mask
    return new_entry(at, hashed, group, d, s, m)


def same_key(base: int, length: int, group: int, entry: int, d: int, s: Words, m: Octets) -> int:
    """Return whether an entry is the direction's key."""
    if s[entry + w.KEY_LENGTH] != length or s[entry + w.KEY_GROUP] != group:
        return 0
    if s[entry + w.KEY_FULL_LENGTH] != s[d + w.D_KEY_FULL]:
        return 0
    other = w.M_KEYS + (entry - w.KEY_TABLE) // w.KEY_WORDS * w.KEY_OCTETS
    for i in range(length):
        if m[base + i] != m[other + i]:
            return 0
    return 1


def new_entry(at: int, hashed: int, group: int, d: int, s: Words, m: Octets) -> int:
    """Fill a free entry and index it at ``at``."""
    entry = s[w.KEYS_FREE]
    if entry != 0:
        s[w.KEYS_FREE] = s[entry + w.KEY_CREDIT]
    else:
        entry = w.KEY_TABLE + s[w.KEYS_FRESH] * w.KEY_WORDS
        s[w.KEYS_FRESH] += 1
    s[w.KEYS_USED] += 1
    s[w.KEYS_SERIAL] += 1
    number = (entry - w.KEY_TABLE) // w.KEY_WORDS
    s[w.KEY_INDEX + at] = number + 1
    for i in range(w.KEY_WORDS):
        s[entry + i] = 0
    s[entry + w.KEY_HASH] = hashed
    s[entry + w.KEY_LENGTH] = s[d + w.D_KEY_LENGTH]
    s[entry + w.KEY_FULL_LENGTH] = s[d + w.D_KEY_FULL]
    s[entry + w.KEY_GROUP] = group
    s[entry + w.KEY_SERIAL] = s[w.KEYS_SERIAL]
    base = s[d + w.D_KEY_AT]
    own = w.M_KEYS + number * w.KEY_OCTETS
    for i in range(s[d + w.D_KEY_LENGTH]):
        m[own + i] = m[base + i]
    return entry


def purge(s: Words) -> None:
    """Take the median credit from all entries; those without credit go to the row for others; index the rest anew."""
    taken = typical_credit(s)
    s[w.KEYS_OFFSET] += taken
    for at in range(w.KEY_INDEX_SIZE):
        s[w.KEY_INDEX + at] = 0
    mask = w.KEY_INDEX_SIZE - 1
    for number in range(s[w.KEYS_FRESH]):
        entry = w.KEY_TABLE + number * w.KEY_WORDS
        if s[entry + w.KEY_SERIAL] == 0:
            continue
        s[entry + w.KEY_CREDIT] -= taken
        if s[entry + w.KEY_CREDIT] <= 0:
            evict(entry, s)
            continue
        at = (s[entry + w.KEY_HASH] ^ s[entry + w.KEY_HASH] >> 15) & mask
        while s[w.KEY_INDEX + at] != 0:
            at = (at + 1) & mask
        s[w.KEY_INDEX + at] = number + 1


def evict(entry: int, s: Words) -> None:
    """Add an entry's figures to the row for others and free it."""
    for i in range(w.KEY_PUBLISHED, w.KEY_BYTES + 1):
        s[w.KEY_OTHER + i] += s[entry + i]
    s[entry + w.KEY_SERIAL] = 0
    s[entry + w.KEY_CREDIT] = s[w.KEYS_FREE]
    s[w.KEYS_FREE] = entry
    s[w.KEYS_USED] -= 1
    s[w.KEYS_PURGED] += 1


def typical_credit(s: Words) -> int:
    """Return the median credit of every 64th entry, at least one."""
    count = s[w.KEYS_FRESH] // 64
    best = 0
    for i in range(count):
        mine = s[w.KEY_TABLE + i * 64 * w.KEY_WORDS + w.KEY_CREDIT]
        below = 0
        for j in range(count):
            if s[w.KEY_TABLE + j * 64 * w.KEY_WORDS + w.KEY_CREDIT] <= mine:
                below += 1
        if below * 2 >= count and (best == 0 or mine < best):
            best = mine
    return max(best, 1)


def reference(entry: int, s: Words) -> int:
    """Return a number for an entry that goes stale when the entry is evicted."""
    return s[entry + w.KEY_SERIAL] * w.KEY_SLOTS + (entry - w.KEY_TABLE) // w.KEY_WORDS


def referred(number: int, s: Words) -> int:
    """Return the entry that a reference means, or the row for others."""
    if number == 0:
        return w.KEY_OTHER
    entry = w.KEY_TABLE + (number & (w.KEY_SLOTS - 1)) * w.KEY_WORDS
    return entry if s[entry + w.KEY_SERIAL] == number // w.KEY_SLOTS else w.KEY_OTHER
