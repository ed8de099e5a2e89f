"""Kernel: the books. Every octet goes to one layer and one class (whose it is, and to what purpose).

A packet's headers are booked to the most important thing that the packet carries: an application message before an
acknowledgement, that before set-up, and so on. What that is may be known only when the segment has been decoded, so
the sizes of its headers stand in the H_ registers until then, and wait in the direction's record where the segment
ended before anything could be told.
"""

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.state import Words


def book(s: Words, kind: int, layer: int, count: int) -> None:
    """Book ``count`` octets of ``layer`` to the class ``kind`` and let it compete for the packet's headers."""
    s[w.ACC + kind * w.LAYER_COUNT + layer] += count
    purpose = kind & (w.PURPOSE_COUNT - 1)
    if purpose < s[w.BEST]:
        s[w.BEST] = purpose
        s[w.BEST_CLASS] = kind


def charge_headers(s: Words, kind: int, link: int, ip: int, tcp: int, options: int, padding: int, packets: int) -> None:
    """Book headers to a class. Made-up headers (a recording tap's) are kept out of the account."""
    at = w.ACC + kind * w.LAYER_COUNT
    s[w.CLASS_PACKETS + kind] += packets
    if s[w.SYNTHETIC]:
        s[w.MADE_UP] += link + ip + tcp + options + padding
        return
    s[at + w.LINK] += link
    s[at + w.IP] += ip
    s[at + w.TCP] += tcp
    s[at + w.TCP_OPTIONS] += options
    s[at + w.PADDING] += padding


def charge(s: Words, kind: int) -> None:
    """Book the current packet's headers (a datagram's that came in fragments: all H_HELD of them) to a class."""
    charge_headers(s, kind, s[w.H_LINK], s[w.H_IP], s[w.H_TCP], s[w.H_OPTIONS], s[w.H_PADDING], s[w.H_HELD])
    s[w.H_HELD] = 0


def charge_waiting(s: Words, at: int, kind: int) -> None:
    """Book the headers that wait in the six words at ``at`` (of a direction or a connection) to a class."""
    if s[at + 5] == 0:
        return
    charge_headers(s, kind, s[at], s[at + 1], s[at + 2], s[at + 3], s[at + 4], s[at + 5])
    for i in range(6):
        s[at + i] = 0


def hold_headers(s: Words, at: int) -> None:
    """Let the current packet's headers wait in the six words at ``at``."""
    for i in range(5):
        s[at + i] += s[w.H_LINK + i]
    s[at + 5] += s[w.H_HELD]
    s[w.H_HELD] = 0


def settle(s: Words, d: int) -> None:
    """The current packet has been decoded: book its headers, and those that waited, or let them wait."""
    if s[w.H_HELD] == 0:
        return
    if s[w.BEST] == w.PURPOSE_COUNT:
        hold_headers(s, d + w.D_LINK)
        return
    kind = s[w.BEST_CLASS]
    charge(s, kind)
    charge_waiting(s, d + w.D_LINK, kind)
    s[d + w.D_LAST_CLASS] = kind


def group_of(s: Words, c: int) -> int:
    """Return the group of a connection's protocol."""
    protocol = s[c + w.C_PROTOCOL]
    if protocol in (w.PLAIN_AMQP, w.AMQP_OVER_WEBSOCKET):
        return w.G_AMQP
    if protocol == w.OVER_TLS:
        return w.G_TLS
    return w.G_MQTT if protocol in (w.PLAIN_MQTT, w.OVER_WEBSOCKET) else w.G_OTHER
