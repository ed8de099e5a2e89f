"""What the judge of MQTT clients keeps in mind: of a session, and of a connection."""

from dataclasses import dataclass, field

from mqproof.dissectors.mqtt.codec import Connack, Connect
from mqproof.dissectors.mqtt.tables import Version


@dataclass(slots=True)
class Kept:
    """A session's outgoing messages: packet id -> what is under way, in the order of their first sending."""

    out: dict[int, str] = field(default_factory=dict)  # "publish 1", "publish 2", "pubrel"
    order: dict[int, int] = field(default_factory=dict)  # packet id -> place of its first sending
    place: int = 0
    torn: bool = False  # a connection ended without DISCONNECT: what was sent last may not have been seen


@dataclass(slots=True)
class State:
    """One connection."""

    begun: float = 0.0
    version: Version = Version.V3_1_1
    connect: Connect | None = None
    connack: Connack | None = None
    connack_time: float = 0.0
    session: Kept = field(default_factory=Kept)
    last: float = 0.0  # when the client was last heard
    window_full: bool = False
    requests: set[int] = field(default_factory=set)  # ids of SUBSCRIBE and UNSUBSCRIBE under way
    due: dict[int, str] = field(default_factory=dict)  # what the session owes again: id -> state
    owed_from: int = 0  # how much was owed at first
    resent: int = -1  # the place of the message that was repeated last
    pubacks: dict[int, float] = field(default_factory=dict)  # deliveries at QoS 1 without answer, and when
    pubrecs: dict[int, float] = field(default_factory=dict)
    pubrels: dict[int, float] = field(default_factory=dict)  # PUBREC of the broker without PUBREL
    pubcomps: dict[int, float] = field(default_factory=dict)
    goodbye: float | None = None
    lied: bool = False
    forgot: bool = False
    reauthenticating: bool = False
    closed: set[str] = field(default_factory=set)
