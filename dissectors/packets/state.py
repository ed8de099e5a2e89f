"""Where the kernels keep what they know: one flat array of integers and one of octets.

The kernels (``records``, ``links``, ``tcp``, the protocols' ``kernel`` and ``overhead.walk``) are plain functions over
three arrays: the octets read from the file, ``s`` (64-bit integers) and ``m`` (octets). Uncompiled, ``s`` is a list
and ``m`` a bytearray; compiled, both are views of plain memory. This page is the map of the two: registers, tables, and
records. Indices in capital letters; ``D_`` is relative to a direction's record, ``C_`` to a connection's.
"""

from typing import Final, TypeAlias

Words: TypeAlias = list[int]
Octets: TypeAlias = bytearray

# What walk() returns.
MORE: Final = 0  # all complete records are done; give me more octets
BLOCK: Final = 1  # a pcapng section or interface block stands at POS: the reader must handle it
CORRUPT: Final = 2  # the record at POS cannot be one
GROW: Final = 3  # no free connection record and room to make more
ROWS_FULL: Final = 4  # the table of finished connections must be emptied
DONE: Final = 0  # what finish() returns when all books are closed

# The layers that a byte can be booked to.
LAYERS: Final = (
    "link", "ip", "tcp", "tcp_options", "tls", "websocket", "framing", "variable_header", "routing", "properties",
    "payload", "repeated", "other", "padding", "undecoded",
)
(
    LINK, IP, TCP, TCP_OPTIONS, TLS, WEBSOCKET, FRAMING, VARIABLE_HEADER, ROUTING, PROPERTIES,
    PAYLOAD, REPEATED, OTHER, PADDING, UNDECODED,
) = range(len(LAYERS))
LAYER_COUNT: Final = 16

# The purposes, the most important first: a packet's headers are booked to the most important thing that it carries.
PURPOSES: Final = (
    "application", "acknowledgement", "setup", "keep_alive", "retransmission", "bare_ack", "other", "undecoded",
)
(
    P_APPLICATION, P_ACKNOWLEDGEMENT, P_SETUP, P_KEEP_ALIVE, P_RETRANSMISSION, P_BARE_ACK, P_OTHER, P_UNDECODED,
) = range(len(PURPOSES))
PURPOSE_COUNT: Final = 8

# Whose bytes: each protocol, MQTT's messages and acknowledgements by QoS.
GROUPS: Final = ("other", "amqp", "mqtt", "mqtt_qos0", "mqtt_qos1", "mqtt_qos2", "tls")
G_OTHER, G_AMQP, G_MQTT, G_QOS0, G_QOS1, G_QOS2, G_TLS = range(len(GROUPS))
GROUP_COUNT: Final = 8
CLASS_COUNT: Final = GROUP_COUNT * PURPOSE_COUNT  # a class is group * PURPOSE_COUNT + purpose
NO_CLASS: Final = -1

# The protocols of a connection. HTTP: a request has begun, or a WebSocket in which nobody has spoken yet.
UNKNOWN, PLAIN_AMQP, PLAIN_MQTT, PLAIN_OTHER, OVER_TLS, HTTP, OVER_WEBSOCKET, AMQP_OVER_WEBSOCKET = range(8)

# Registers.
(
    POS, FORMAT, BIG_ENDIAN, SKIP, SECTION_IFACES, MAX_RECORD, SYNTHETIC,
    R_AT, R_CAPTURED, R_ORIGINAL, R_TIME, R_LINKTYPE, R_NEXT,
    PACKETS, CAPTURED, WIRE, MADE_UP, FIRST_TIME, LAST_TIME, BAD_PACKETS, NON_TCP, TCP_PACKETS, FRAGMENTS, CUT_PACKETS,
    H_LINK, H_IP, H_TCP, H_OPTIONS, H_PADDING, H_HELD, BEST, BEST_CLASS,
    L3, L4, L4_END, ETHERTYPE, IP_PROTOCOL, SIDE,
    F_CONN, F_DIRECTION, F_AT, F_END, F_MISSING, F_SKIP,
    CONNS, CONN_LIMIT, CONN_FREE, CONN_HAND, CONNS_SEEN, CONNS_EVICTED, MID_STREAM,
    SLOT_FREE, SLOTS_USED, SLOTS_FRESH,
    RETRANSMITTED, RETRANSMITTED_OCTETS, OUT_OF_ORDER, GAPS, LOST, STREAMS_BOUND,
    MALFORMED, RESYNCS, DAMAGED, INCOMPLETE,
    KEYS_USED, KEYS_OFFSET, KEYS_PURGED, KEYS_SERIAL, KEYS_FREE, KEYS_FRESH,
    TLS_SEEN, WEBSOCKET_SEEN, DECODE_AS, ROWS_USED, FINISHED,
    TLS_RECORDS, TLS_SIZED, TLS_OCTETS, TLS_SIZE_2, TLS_SIZE_4, TLS_SIZE_8, TLS_SIZE_21,
    TLS_PINGS, TLS_INTERVALS, TLS_INTERVAL_TIME,
    FRAGMENT, FRAGMENT_ID, FRAGMENT_OFFSET, FRAGMENT_MORE, DATAGRAM_END,
    REASSEMBLED, DATAGRAMS_GIVEN_UP, DATAGRAMS_BOUND, FRAGMENTS_REPEATED, H_PACKETS, H_OCTETS,
) = range(96)  # fmt: skip
REGISTERS: Final = 128

PCAP: Final = 1
PCAPNG: Final = 2
PCAP_MODIFIED: Final = 3

# Interfaces of a capture: link type; how timestamps become nanoseconds (POWER: of two, 0: decimal); snap length.
MAX_IFACES: Final = 256
IFACE_WORDS: Final = 8
LAST_SECOND: Final = 1 << 32  # of a clock and of its offset (the year 2106): their sum in nanoseconds has 64 bits
I_LINKTYPE, I_MULTIPLY, I_DIVIDE, I_POWER, I_OFFSET, I_SNAP = range(6)
IFACES: Final = REGISTERS
ACC: Final = IFACES + MAX_IFACES * IFACE_WORDS  # octets: [class][layer]
CLASS_PACKETS: Final = ACC + CLASS_COUNT * LAYER_COUNT  # packets: [class]

# Frames and packets of the protocols: [kind][column]; MQTT's packet types first, then AMQP's.
K_MQTT: Final = 0
K_AMQP: Final = 16  # K_AMQP + number of the method in the table
K_AMQP_HEADER, K_AMQP_BODY, K_AMQP_HEARTBEAT, K_AMQP_PROTOCOL_HEADER, K_AMQP_UNKNOWN = range(112, 117)
KIND_COUNT: Final = 128
KIND_WORDS: Final = 8
N_COUNT, N_BYTES, N_PAYLOAD, N_FROM_CLIENT, N_FROM_BROKER = range(5)
KINDS: Final = CLASS_PACKETS + CLASS_COUNT

# Application messages: [group][role of the sender]: messages, payload octets, repeated (DUP or redelivered), retained.
ROLE_UNKNOWN, ROLE_CLIENT, ROLE_BROKER = range(3)
MESSAGE_WORDS: Final = 8
(N_MESSAGES, N_MESSAGE_PAYLOAD, N_REPEATED, N_RETAINED, N_FRAME_BYTES) = range(5)
MESSAGES: Final = KINDS + KIND_COUNT * KIND_WORDS

# AMQP methods by class and method id: the number in the table plus one; and the steps that walk a method's arguments.
METHOD_INDEX: Final = MESSAGES + GROUP_COUNT * 4 * MESSAGE_WORDS
METHOD_INDEX_SIZE: Final = 32 * 128  # class id / 5, method id
METHODS: Final = METHOD_INDEX + METHOD_INDEX_SIZE  # [number][word]
METHOD_WORDS: Final = 16
A_PURPOSE, A_ROLE, A_CONTENT, A_STEPS = 0, 1, 2, 3
STEP_REST, STEP_SHORTSTR, STEP_EXCHANGE, STEP_ROUTING_KEY, STEP_TAG, STEP_BITS = 0, -1, -2, -3, -4, -5

# Topics and routing keys, counted as in Misra and Gries: a bounded number of entries, each with a credit; when they
# run out, the median credit is taken from all, and entries without credit go to the row KEY_OTHER. An entry's figures
# are exact since it entered; what it can have lost before is at most KEYS_OFFSET messages. The octets stand in ``m``.
KEY_SLOTS: Final = 8192
KEY_WORDS: Final = 12
KEY_INDEX_SIZE: Final = 2 * KEY_SLOTS
(
    KEY_HASH, KEY_LENGTH, KEY_FULL_LENGTH, KEY_GROUP, KEY_SERIAL, KEY_CREDIT,
    KEY_PUBLISHED, KEY_DELIVERED, KEY_PAYLOAD, KEY_BYTES,
) = range(10)  # fmt: skip
KEY_INDEX: Final = METHODS + 80 * METHOD_WORDS  # entry number plus one, open addressing
KEY_TABLE: Final = KEY_INDEX + KEY_INDEX_SIZE
KEY_OTHER: Final = KEY_TABLE + KEY_SLOTS * KEY_WORDS  # what was purged or could not be attributed

# Segments that came early.
SLOTS: Final = 4096
SLOT_WORDS: Final = 12
(
    SLOT_NEXT, SLOT_SEQ, SLOT_LENGTH, SLOT_MISSING, SLOT_LINK, SLOT_IP, SLOT_TCP, SLOT_OPTIONS, SLOT_PADDING,
    SLOT_HEADERS, SLOT_TIME, SLOT_PACKET,
) = range(12)  # fmt: skip
SLOT_TABLE: Final = KEY_OTHER + KEY_WORDS
SLOT_OCTETS: Final = 2048
SLOTS_PER_DIRECTION: Final = 1024

# IP datagrams that came in fragments: until they are whole, and after that to know late copies of their fragments.
DATAGRAMS: Final = 64
PIECES: Final = 128  # disjoint fragments of one datagram; 65,515 octets in packets of 576
PIECE_WORDS: Final = 3
PIECE_START, PIECE_LENGTH, PIECE_HAVE = range(PIECE_WORDS)  # HAVE: less than LENGTH where the snap length cut it
G_FREE, G_WHOLE, G_GATHERING = range(3)
(
    G_STATE, G_ETHERTYPE, G_ID, G_PROTOCOL, G_TIME, G_LAST, G_CLASS, G_TOTAL, G_LENGTH, G_HAVE, G_COUNT,
    G_LINK, G_IP, G_PADDING, G_PACKETS,
) = range(15)  # fmt: skip
G_ADDRESSES: Final = 15  # source and destination, in words of 32 bits
G_PIECES: Final = G_ADDRESSES + 8
DATAGRAM_WORDS: Final = G_PIECES + PIECES * PIECE_WORDS
DATAGRAM_TABLE: Final = SLOT_TABLE + SLOTS * SLOT_WORDS
DATAGRAM_HEADER: Final = 40  # octets before the payload, for an IP header of ours
DATAGRAM_OCTETS: Final = DATAGRAM_HEADER + 65536

# Connections that have ended, until the engine takes them away: a copy of the record's head, then per side packets
# and octets.
ROW_LIMIT: Final = 512
ROW_ROOM: Final = 2  # one packet may end two connections
ROWS: Final = DATAGRAM_TABLE + DATAGRAMS * DATAGRAM_WORDS

# Ports whose protocol the user knows better: pairs of port and protocol.
DECODE_LIMIT: Final = 64

# Connections: a hash table of chains.
HASH_SIZE: Final = 1 << 14
CONN_HEAD: Final = 40
ROW_WORDS: Final = CONN_HEAD + 4
DECODE_TABLE: Final = ROWS + ROW_LIMIT * ROW_WORDS
HASH: Final = DECODE_TABLE + DECODE_LIMIT * 2
CONN_TABLE: Final = HASH + HASH_SIZE

(
    C_NEXT, C_USED, C_HASH, C_FAMILY, C_A0, C_A1, C_A2, C_A3, C_B0, C_B1, C_B2, C_B3, C_PORT_A, C_PORT_B,
    C_PROTOCOL, C_VERSION, C_CLIENT, C_LAST, C_STRIKES, C_NUMBER, C_CLOSED, C_DATA, C_FRAMES, C_FIRST_TIME, C_LAST_TIME,
    C_LINK, C_IP, C_TCP, C_OPTIONS, C_PADDING, C_PACKETS, C_MESSAGES, C_PAYLOAD,
    C_TLS_EXTRA, C_TLS_VERSION, C_TLS_FINISHED, C_TLS_SMALL, C_TLS_TIME, C_TLS_PAIR,
) = range(39)  # fmt: skip

(
    D_KNOWN, D_NEXT, D_STARTED, D_ACKED, D_SLOTS, D_SLOT_COUNT, D_FLUSH, D_WAITED, D_LOST, D_SCRATCH, D_HELD,
    D_LINK, D_IP, D_TCP, D_OPTIONS, D_PADDING, D_PACKETS, D_LAST_CLASS,
    D_PHASE, D_NEED, D_LEFT, D_SIZE, D_KIND, D_CLASS, D_VALUE, D_SHIFT, D_FLAGS, D_UNBOOKED, D_DAMAGED,
    D_KEY, D_KEY_LENGTH, D_KEY_FULL, D_PAYLOAD, D_ID, D_BITS, D_CHANNEL, D_METHOD, D_STEP, D_BODY,
    D_CHANNEL_A, D_CHANNEL_B, D_CHANNEL_C, D_CHANNEL_D, D_KEY_A, D_KEY_B, D_KEY_C, D_KEY_D, D_OLDEST,
    D_TOTAL_PACKETS, D_TOTAL_OCTETS,
    D_O_PHASE, D_O_NEED, D_O_VALUE, D_O_MASK, D_O_TURN, D_O_HELD, D_O_KIND, D_O_ASKED, D_KEY_AT,
) = range(59)  # fmt: skip
DIRECTION_WORDS: Final = 60  # D_O_: the outer framing, TLS records or WebSocket frames
CONN_WORDS: Final = CONN_HEAD + 2 * DIRECTION_WORDS
MAX_CONNS: Final = 12288  # 10,000 devices; with short keys 18 MB
FIRST_CONNS: Final = 256  # how many an uncompiled walk starts with

# Octets: early segments, keys of the table, and each direction's scratch (a key, and the beginning of a stream).
M_SLOTS: Final = 0
M_KEYS: Final = M_SLOTS + SLOTS * SLOT_OCTETS
KEY_OCTETS: Final = 512
M_DATAGRAMS: Final = M_KEYS + KEY_SLOTS * KEY_OCTETS
M_DIRECTIONS: Final = M_DATAGRAMS + DATAGRAMS * DATAGRAM_OCTETS
SHORT_KEY: Final = 64  # a longer key moves to a place of its own, so that others do not take the room for it
BEGINNING: Final = SHORT_KEY
BEGINNING_SIZE: Final = 16
DIRECTION_OCTETS: Final = SHORT_KEY + BEGINNING_SIZE
M_LONG_KEYS: Final = M_DIRECTIONS + MAX_CONNS * 2 * DIRECTION_OCTETS
M_UNMASKED: Final = M_LONG_KEYS + MAX_CONNS * 2 * KEY_OCTETS  # a piece of a WebSocket frame's payload
UNMASKED_OCTETS: Final = 4096
M_SIZE: Final = M_UNMASKED + UNMASKED_OCTETS
