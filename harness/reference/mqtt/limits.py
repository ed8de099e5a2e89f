"""What the broker allows: announced in CONNACK where MQTT 5.0 section 3.2.2.3 has a property for it, else only here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that keep one client from using up the server.

    The first group is announced in every successful 5.0 CONNACK, so that a client sees it there. The boolean features
    are announced only when they are off, because absence means that they are available.
    """

    receive_maximum: int = 100  # QoS 1 and 2 PUBLISH in flight towards us, 3.2.2.3.3
    maximum_packet_size: int = 1 << 20  # octets, 3.2.2.3.6
    topic_alias_maximum: int = 16  # 3.2.2.3.8
    maximum_qos: int = 2  # 3.2.2.3.4
    retain_available: bool = True  # 3.2.2.3.5
    wildcards_available: bool = True  # 3.2.2.3.11
    identifiers_available: bool = True  # 3.2.2.3.12
    shared_available: bool = True  # 3.2.2.3.13
    session_expiry_maximum: int | None = None  # seconds, 3.2.2.3.2; None grants whatever is asked
    server_keep_alive: int | None = None  # seconds, 3.2.2.3.14; None takes the client's

    # 5.0 section 4.11: every CONNECT is refused and sent there ("host:port"); in 3.1.1 it is return code 3.
    server_reference: str | None = None

    # MQTT 3.1.1 has no way to announce a size, so that its bound is far from what applications send.
    maximum_packet_size_v3: int = 16 << 20  # octets
    connect_timeout: float = 10.0  # seconds for CONNECT and authentication, 3.1.4 (SHOULD)
    queue_octets: int = 64 << 20  # kept for one session; beyond it QoS 0 is dropped, QoS 1 and 2 end it
    queue_messages: int = 200_000
    retained_octets: int = 256 << 20
    subscription_octets: int = 1 << 20  # of topic filters in one session
    sessions: int = 100_000
