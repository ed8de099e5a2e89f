"""What traffic will cost: octets and packets of a device in a day, for AMQP, each QoS of MQTT, and HTTPS POST.

Pure arithmetic, no clock, no socket. A message is a few *steps*: octets that one side hands to TCP at once, and the
acknowledgement-only packets that follow. Every constant has its source beside it; "measured" means in our own
captures (see docs/overhead.md) or with OpenSSL 3.0 in memory, which tests repeat.

It holds for messages of a connection that are some time apart, as devices send them: each message then pays for its own
packets. Where many messages a second share packets and acknowledgements, a forecast is an upper bound.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mqproof.dissectors.amqp.tables import FRAME_OVERHEAD

DAY: Final = 86_400.0  # seconds
MONTH: Final = 365.25 / 12  # days
ETHERNET: Final = 14  # IEEE 802.3 without the check sequence, as captures have it
IPV4, IPV6 = 20, 40  # RFC 791 section 3.1, RFC 8200 section 3
TCP: Final = 20  # RFC 9293 section 3.1
TIMESTAMPS: Final = 12  # RFC 7323 section 3.2, padded; Linux, Windows since 10, macOS send them
SYN_OPTIONS: Final = 20  # segment size 4, SACK permitted 2, timestamps 10, padding 1, window scale 3 (Linux, measured)
CRAMPED: Final = 20.0  # messages per second of a connection, from which on they share packets: ACKs wait up to 40 ms

# AMQP 0-9-1, in octets with the frame's own eight (sections 4.2.3, 4.2.6 and the methods' arguments in the XML).
AMQP_PUBLISH: Final = FRAME_OVERHEAD + 4 + 2 + 1 + 1 + 1  # without exchange and routing key
AMQP_DELIVER: Final = FRAME_OVERHEAD + 4 + 1 + 8 + 1 + 1 + 1  # without consumer tag, exchange and routing key
AMQP_HEADER: Final = FRAME_OVERHEAD + 14  # without properties
AMQP_ACK: Final = FRAME_OVERHEAD + 4 + 8 + 1
AMQP_FRAME_MAX: Final = 131_072  # RabbitMQ's default
AMQP_CONSUMER_TAG: Final = 31  # what RabbitMQ gives: "amq.ctag-" and 22 characters
# Steps of opening a connection and a channel, up and down (measured: RabbitMQ 3.10.8 and pika 1.4.4).
AMQP_OPENING: Final = ((8, 517), (328, 20), (20 + 16, 13), (13, 16))
AMQP_CONFIRM: Final = ((13, 12),)
AMQP_CLOSING: Final = ((34, 12), (34, 12))

# MQTT fixed sizes (MQTT 5.0 sections 3.4 to 3.7, 3.12 to 3.14); 5.0 leaves reason code 0 out, as 3.1.1 has none.
MQTT_ACK: Final = 4
MQTT_PING: Final = 2
MQTT_CONNACK: Final = 4

# TLS records: header 5; 1.3 adds the content type and a tag of 16 (RFC 8446 section 5.2), 1.2 with AES-GCM a nonce of 8
# and a tag of 16 (RFC 5288 section 3). At most 16,384 octets in one.
TLS_RECORD: Final = {"1.3": 22, "1.2": 29}
TLS_LARGEST: Final = 16_384
# Handshakes as steps up and down without certificates (measured: OpenSSL 3.0, X25519, RSA of 2048 bits, with tickets).
TLS_FULL: Final = {"1.3": ((252, 561), (80, 510)), "1.2": ((189, 402), (93, 242))}
TLS_RESUMED: Final = {"1.3": ((523, 241), (80, 255)), "1.2": ((517, 141), (51, 0))}
CERTIFICATES: Final = 2_600  # octets of a leaf and an intermediate certificate, RSA of 2048 bits; give your own

HTTP_REQUEST: Final = (
    "POST /{topic} HTTP/1.1\r\nHost: broker.example.org\r\nUser-Agent: device/1.0\r\nAccept: */*\r\n"
    "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n"
)  # RFC 9112 section 2.1, with what a small client sends
HTTP_ANSWER: Final = (
    "HTTP/1.1 204 No Content\r\nServer: nginx\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: keep-alive\r\n\r\n"
)

Step = tuple[int, int]  # octets up, octets down; either may be 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """One kind of message. ``sizes``: octets and shares; ``topic``, ``exchange``, ``properties``: octets.

    ``rate``: messages per second of one device. ``subscribers``: how many consumers get each message.
    """

    sizes: tuple[tuple[int, float], ...]
    topic: int
    rate: float
    properties: int = 0
    exchange: int = 0
    qos: int = 0
    subscribers: float = 1.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all messages share. Sizes in octets, ``keep_alive`` in seconds, 0 for none."""

    devices: int = 1
    keep_alive: int = 60
    reconnects_per_day: float = 0.0
    resumed: float = 0.0  # share of the reconnects whose TLS session is resumed
    tls: str = ""  # "1.2", "1.3"
    certificates: int = CERTIFICATES
    topic_alias: bool = False
    mqtt_5: bool = False
    client_id: int = 23  # MQTT 3.1.1 section 3.1.3.1: what every server must take
    login: int = 0  # user name and password together
    ipv6: bool = False
    tcp_options: int = TIMESTAMPS
    link: int = ETHERNET
    segment: int = 1448  # octets of data in a packet: Ethernet's 1500 without IPv4, TCP and timestamps
    amqp_opening: tuple[Step, ...] = AMQP_OPENING
    consumer_tag: int = AMQP_CONSUMER_TAG
    extra_per_packet: int = 0  # billing: octets that the operator adds to each packet
    round_up: int = 1  # billing: octets, per device and period
    periods_per_month: float = 1.0  # billing: how often it is rounded up

    @property
    def headers(self) -> int:
        """Octets of headers in a packet with data."""
        return self.link + (IPV6 if self.ipv6 else IPV4) + TCP + self.tcp_options


@dataclass(frozen=True, slots=True)
class Cost:
    """Octets on the wire (from the link layer), and packets."""

    octets: float = 0.0
    packets: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.octets + other.octets, self.packets + other.packets)

    def __mul__(self, times: float) -> "Cost":
        return Cost(self.octets * times, self.packets * times)


@dataclass(frozen=True, slots=True)
class Row:
    """What one way to send it costs.

    ``message``: one publish, on average; ``day``: one device in a day; ``consumers``: all deliveries of a day.
    """

    name: str
    message: Cost
    day: Cost
    consumers: Cost
    billed_month: float  # octets, all devices
    cramped: bool  # messages come so fast that they share packets: an upper bound


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send a message: how its steps are made from octets of payload."""

    name: str
    protocol: str
    qos: int | None = None  # None: each flow's own
    acknowledged: bool = True
    kept: bool = True  # HTTP: the connection is


WAYS: Final = (
    Way("MQTT QoS 0", "mqtt", 0),
    Way("MQTT QoS 1", "mqtt", 1),
    Way("MQTT QoS 2", "mqtt", 2),
    Way("AMQP, no acks", "amqp", acknowledged=False),
    Way("AMQP, confirms + acks", "amqp"),
    Way("HTTP POST, one connection", "http"),
    Way("HTTP POST, one each", "http", kept=False),
)


def forecast(flows: Sequence[Traffic], given: Conditions, ways: Sequence[Way] = WAYS) -> list[Row]:
    """Return what the traffic costs, one row for each way to send it."""
    return [_row(way, flows, given) for way in ways]


def _row(way: Way, flows: Sequence[Traffic], given: Conditions) -> Row:
    rate = math.fsum(flow.rate for flow in flows)
    day, message, consumers = Cost(), Cost(), Cost()
    for flow in flows:
        one = _mean(flow, lambda size, flow=flow: publish(way, flow, given, size))  # type: ignore[misc]
        message = message + one * (flow.rate / rate if rate else 0)
        day = day + one * (flow.rate * DAY)
        delivered = _mean(flow, lambda size, flow=flow: deliver(way, flow, given, size))  # type: ignore[misc]
        consumers = consumers + delivered * (flow.rate * DAY * flow.subscribers * given.devices)
    if way.kept:
        day = day + keep_alive(way, rate, given) + connection(way, flows, given) * given.reconnects_per_day
    return Row(way.name, message, day, consumers, _billed(day, given), way.kept and rate > CRAMPED)


def publish(way: Way, flow: Traffic, given: Conditions, size: int) -> Cost:
    """Return the cost of handing one message of ``size`` octets of payload to the broker, acknowledgements included."""
    if way.protocol == "mqtt":
        qos = flow.qos if way.qos is None else way.qos
        return _mqtt_message(qos, mqtt_publish(flow, given, size, qos), given)
    if way.protocol == "amqp":
        method = AMQP_PUBLISH + flow.exchange + flow.topic
        up = _records((method + AMQP_HEADER + flow.properties + _bodies(size),), given)
        return _exchange(up, _records((AMQP_ACK,), given) if way.acknowledged else 0, given)
    request = HTTP_REQUEST.format(topic="x" * flow.topic, length=size)
    steps = _exchange(_records((len(request) + size,), given), _records((len(HTTP_ANSWER),), given), given)
    return steps if way.kept else steps + _opened(given) + _close(given, 0)


def deliver(way: Way, flow: Traffic, given: Conditions, size: int) -> Cost:
    """Return the cost of handing one message to a consumer; nothing for HTTP, which does not deliver."""
    if way.protocol == "mqtt":
        return publish(way, flow, given, size)  # section 3.3: the same packet, the other way
    if way.protocol == "http":
        return Cost()
    method = AMQP_DELIVER + given.consumer_tag + flow.exchange + flow.topic
    down = _records((method + AMQP_HEADER + flow.properties + _bodies(size),), given)
    return _exchange(down, _records((AMQP_ACK,), given) if way.acknowledged else 0, given)


def mqtt_publish(flow: Traffic, given: Conditions, size: int, qos: int) -> int:
    """Return the octets of a PUBLISH (MQTT 5.0 section 3.3)."""
    remaining = 2 + flow.topic + (2 if qos else 0) + size
    if given.mqtt_5 or given.topic_alias or flow.properties:
        properties = flow.properties + (3 if given.topic_alias else 0)  # section 3.3.2.3.4
        remaining += _varint(properties) + properties - (flow.topic if given.topic_alias else 0)
    return 1 + _varint(remaining) + remaining


def keep_alive(way: Way, rate: float, given: Conditions) -> Cost:
    """Return what signs of life cost in a day, beside messages at this rate.

    An MQTT client pings when it has sent nothing for the keep-alive (3.1.2.10). Both sides of AMQP send a heartbeat
    when they have sent nothing for half of what was agreed (4.2.7 leaves it open; RabbitMQ and pika do so).
    """
    if not given.keep_alive or way.protocol == "http":
        return Cost()
    if way.protocol == "mqtt":
        ping = _records((MQTT_PING,), given)
        return _exchange(ping, ping, given) * _gaps(rate, given.keep_alive)
    beat = _exchange(_records((FRAME_OVERHEAD,), given), 0, given)
    half = given.keep_alive / 2
    silent_broker = 0.0 if not way.acknowledged else rate
    return beat * (_gaps(rate, half) + _gaps(silent_broker, half))


def connection(way: Way, flows: Sequence[Traffic], given: Conditions) -> Cost:
    """Return what it costs to open and close a connection once, resumed TLS handshakes in their share."""
    opened = _opened(given)
    if way.protocol == "mqtt":
        five = given.mqtt_5 or given.topic_alias
        connect = 10 + five + 2 + given.client_id + (4 + given.login if given.login else 0)  # section 3.1
        asked = _records((1 + _varint(connect) + connect,), given)
        opened = opened + _exchange(asked, _records((MQTT_CONNACK + five,), given), given) + _bare(given)
        if given.topic_alias:
            opened = opened + Cost(sum(flow.topic for flow in flows), 0)  # each topic goes out once in full
        return opened + _close(given, _records((2,), given))
    if way.protocol == "amqp":
        steps = (*given.amqp_opening, *(AMQP_CONFIRM if way.acknowledged else ()), *AMQP_CLOSING)
        for up_octets, down_octets in steps:
            up, down = _records((up_octets,), given), _records((down_octets,), given)
            opened = opened + _step(up, given) + _step(down, given)
        return opened + _bare(given) * 4 + _close(given, 0)
    return opened + _close(given, 0)


def _mqtt_message(qos: int, size: int, given: Conditions) -> Cost:
    """Measured: each answer to whoever began is acknowledged at once, as he had been silent before."""
    octets, ack = _records((size,), given), _records((MQTT_ACK,), given)
    if qos == 0:
        return _exchange(octets, 0, given)
    first = _exchange(octets, ack, given)
    return first if qos == 1 else first + _exchange(ack, ack, given)


def _exchange(there: int, back: int, given: Conditions) -> Cost:
    """Something there, perhaps something back, and a packet that acknowledges what came last."""
    return _step(there, given) + _step(back, given) + _bare(given) * (1 + _further(there, given))


def _step(octets: int, given: Conditions) -> Cost:
    packets = math.ceil(octets / given.segment)
    return Cost(octets + packets * given.headers, packets)


def _further(octets: int, given: Conditions) -> int:
    """RFC 9293 section 3.8.6.3: an acknowledgement at least for every second full segment."""
    return max(0, math.ceil(octets / given.segment) - 1) // 2


def _bare(given: Conditions) -> Cost:
    return Cost(given.headers, 1)


def _opened(given: Conditions) -> Cost:
    return _open(given, full=True) * (1 - given.resumed) + _open(given, full=False) * given.resumed


def _open(given: Conditions, *, full: bool) -> Cost:
    """TCP's three packets (RFC 9293 section 3.5), and TLS."""
    syn = given.headers - given.tcp_options + SYN_OPTIONS
    opened = Cost(2 * syn + given.headers, 3)
    if given.tls:
        (hello, answer), *rest = (TLS_FULL if full else TLS_RESUMED)[given.tls]
        opened = opened + _exchange(hello, answer + (given.certificates if full else 0), given)
        for up, down in rest:
            opened = opened + _exchange(up, down, given)
    return opened


def _close(given: Conditions, farewell: int) -> Cost:
    """A last word, FIN, FIN and its acknowledgement (RFC 9293 section 3.6)."""
    alert = TLS_RECORD[given.tls] + 2 if given.tls else 0  # close_notify, RFC 8446 section 6.1
    return _step(farewell, given) + _step(alert, given) + _bare(given) * 3


def _records(parts: Sequence[int], given: Conditions) -> int:
    """Return octets with what TLS adds to each record."""
    each = TLS_RECORD[given.tls] if given.tls else 0
    return sum(octets + each * math.ceil(octets / TLS_LARGEST) for octets in parts)


def _bodies(size: int) -> int:
    """Return the octets of a body's frames (AMQP section 4.2.6.2)."""
    return size + FRAME_OVERHEAD * math.ceil(size / (AMQP_FRAME_MAX - FRAME_OVERHEAD))


def _varint(value: int) -> int:
    """Return the octets of a Variable Byte Integer (MQTT 5.0 section 1.5.5)."""
    return 1 + (value > 127) + (value > 16_383) + (value > 2_097_151)


def _gaps(rate: float, seconds: float) -> float:
    """Return how often in a day so many seconds pass without a message, when messages come evenly."""
    if rate <= 0:
        return DAY / seconds
    between = 1 / rate
    return DAY / between * max(0, math.ceil(between / seconds) - 1)


def _mean(flow: Traffic, of_size: Callable[[int], Cost]) -> Cost:
    total = Cost()
    for size, share in flow.sizes:
        total = total + of_size(size) * share
    return total


def _billed(day: Cost, given: Conditions) -> float:
    """From the IP layer, so many octets more for each packet, rounded up for each device and period."""
    month = (day.octets + day.packets * (given.extra_per_packet - given.link)) * MONTH
    period = month / given.periods_per_month
    return math.ceil(period / given.round_up) * given.round_up * given.periods_per_month * given.devices
