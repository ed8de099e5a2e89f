"""Kernel: what a complete AMQP frame counts for: its kind, its message, its routing key, and who is the client."""

from mqproof.dissectors.amqp.finding import BODY, HEADER, HEARTBEAT, METHOD
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.keys import find_key, reference, referred
from mqproof.dissectors.packets.state import Octets, Words

PUBLISH = list(METHODS).index("basic.publish")
RETURN = list(METHODS).index("basic.return")
DELIVER = list(METHODS).index("basic.deliver")
GET_OK = list(METHODS).index("basic.get-ok")


def method_done(d: int, s: Words, m: Octets) -> None:
    """The arguments of a method that is known are complete: remember whose content follows."""
    row = w.METHODS + s[d + w.D_METHOD] * w.METHOD_WORDS
    if s[row + w.A_CONTENT]:
        entry = find_key(w.G_AMQP, d, s, m)
        s[entry + w.KEY_CREDIT] += 1
        remember(reference(entry, s), d, s)


def remember(key: int, d: int, s: Words) -> None:
    """Remember the key of the channel's content: four channels at a time may have one under way."""
    channel = s[d + w.D_CHANNEL] + 1
    for i in range(4):
        if s[d + w.D_CHANNEL_A + i] == channel:
            s[d + w.D_KEY_A + i] = key
            return
    at = s[d + w.D_OLDEST] & 3
    s[d + w.D_CHANNEL_A + at] = channel
    s[d + w.D_KEY_A + at] = key
    s[d + w.D_OLDEST] = at + 1


def key_of_channel(d: int, s: Words) -> int:
    """Return the table's entry for the channel's content, or the row for others."""
    channel = s[d + w.D_CHANNEL] + 1
    for i in range(4):
        if s[d + w.D_CHANNEL_A + i] == channel:
            return referred(s[d + w.D_KEY_A + i], s)
    return w.KEY_OTHER


def role_of(c: int, d: int, s: Words) -> int:
    """Return who sends in a direction."""
    client = s[c + w.C_CLIENT]
    if client < 0:
        return w.ROLE_UNKNOWN
    side = 0 if d == c + w.CONN_HEAD else 1
    return w.ROLE_CLIENT if client == side else w.ROLE_BROKER


def count_role(row: int, role: int, s: Words) -> None:
    """Count a frame for the one who sent it."""
    if role == w.ROLE_CLIENT:
        s[row + w.N_FROM_CLIENT] += 1
    elif role == w.ROLE_BROKER:
        s[row + w.N_FROM_BROKER] += 1


def frame_done(c: int, d: int, s: Words) -> None:
    """Count a complete frame."""
    kind = s[d + w.D_KIND]
    size = s[d + w.D_SIZE]
    number = w.K_AMQP_HEADER
    if kind == BODY:
        number = w.K_AMQP_BODY
    elif kind == HEARTBEAT:
        number = w.K_AMQP_HEARTBEAT
    elif kind == METHOD:
        number = w.K_AMQP_UNKNOWN if s[d + w.D_METHOD] < 0 else w.K_AMQP + s[d + w.D_METHOD]
    row = w.KINDS + number * w.KIND_WORDS
    if kind == METHOD and s[d + w.D_METHOD] >= 0:
        learn_role(s[w.METHODS + s[d + w.D_METHOD] * w.METHOD_WORDS + w.A_ROLE], c, d, s)
    s[row + w.N_COUNT] += 1
    s[row + w.N_BYTES] += size
    s[row + w.N_PAYLOAD] += s[d + w.D_PAYLOAD]
    role = role_of(c, d, s)
    count_role(row, role, s)
    s[w.DAMAGED] += s[d + w.D_DAMAGED]
    s[c + w.C_FRAMES] += 1
    if kind in (HEADER, BODY):
        s[c + w.C_PAYLOAD] += s[d + w.D_PAYLOAD]
        entry = key_of_channel(d, s)
        s[entry + w.KEY_BYTES] += size
        s[entry + w.KEY_PAYLOAD] += s[d + w.D_PAYLOAD]
        at = w.MESSAGES + (w.G_AMQP * 4 + role) * w.MESSAGE_WORDS
        s[at + w.N_MESSAGE_PAYLOAD] += s[d + w.D_PAYLOAD]
        s[at + w.N_FRAME_BYTES] += size
    elif number >= w.K_AMQP and number < w.K_AMQP_HEADER:
        s[c + w.C_MESSAGES] += 1 if number - w.K_AMQP in (PUBLISH, DELIVER, GET_OK) else 0
        message_begins(number - w.K_AMQP, role, d, s)


def learn_role(sender: int, c: int, d: int, s: Words) -> None:
    """A method that only one side sends tells who is the client."""
    if sender != w.ROLE_UNKNOWN and s[c + w.C_CLIENT] < 0:
        side = 0 if d == c + w.CONN_HEAD else 1
        s[c + w.C_CLIENT] = side if sender == w.ROLE_CLIENT else 1 - side


def message_begins(method: int, role: int, d: int, s: Words) -> None:
    """Count the method that carries a message."""
    if method not in (PUBLISH, DELIVER, GET_OK, RETURN):
        return
    entry = w.KEY_OTHER if s[d + w.D_DAMAGED] else key_of_channel(d, s)
    s[entry + w.KEY_BYTES] += s[d + w.D_SIZE]
    at = w.MESSAGES + (w.G_AMQP * 4 + role) * w.MESSAGE_WORDS
    s[at + w.N_FRAME_BYTES] += s[d + w.D_SIZE]
    if method == RETURN:
        return
    s[entry + (w.KEY_PUBLISHED if method == PUBLISH else w.KEY_DELIVERED)] += 1
    s[at + w.N_MESSAGES] += 1
    if method != PUBLISH:
        s[at + w.N_REPEATED] += s[d + w.D_BITS] & 1
