"""What all connections of a reference broker share: virtual hosts, users, limits, defects."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mqproof.harness.reference.amqp.clock import Clock
from mqproof.harness.reference.amqp.defects import asker, checked
from mqproof.harness.reference.amqp.negotiation import same_secret
from mqproof.harness.reference.amqp.topology import VirtualHost

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.connection import Connection

VHOSTS: Final = ("/", "other")
STRANGER: Final = "mqproof-stranger"  # a user, and the password, that may open the virtual hosts and make no queue
"""Two virtual hosts, so that their separation can be seen (rule connection.open.virtual-host/separation)."""

CLOSED_VHOST: Final = "closed"
"""A virtual host that no user may open (rule connection.open.virtual-host/security)."""

_PUBLISHES_PER_LOOK: Final = 256
_LOOK_INTERVAL: Final = 0.25  # seconds
_RELIEF: Final = 0.8  # share of the limit below which an alarm ends


@dataclass(frozen=True, slots=True)
class Settings:
    """What a broker is told at its start. Sizes in octets, times in seconds; 0 is no limit.

    ``consumer_timeout``: how long a delivery may stay unacknowledged, unless its queue has x-consumer-timeout.
    ``login_delay``: how long a client that cannot be told that its login was refused waits for the end of its socket.
    ``memory_limit``: how much the waiting messages may take before publishers are blocked.
    """

    users: Mapping[str, str] = field(default_factory=lambda: {"guest": "guest", STRANGER: STRANGER}, repr=False)
    vhosts: tuple[str, ...] = VHOSTS
    frame_max: int = 131072
    channel_max: int = 2047
    heartbeat: int = 60
    max_message_size: int = 16 * 1024 * 1024
    handshake_timeout: float = 10.0
    close_timeout: float = 5.0
    login_delay: float = 0.25
    consumer_timeout: float = 1800.0
    memory_limit: int = 1024 * 1024 * 1024


class Broker:
    """The state of one broker. Not thread safe: everything happens on the thread of its clock's event loop."""

    def __init__(self, clock: Clock, settings: Settings | None = None, defects: Iterable[str] = ()) -> None:
        self.clock = clock
        self.settings = settings or Settings()
        self.defects = checked(defects)
        self.defective = asker(self.defects)
        self.max_message_size = self.settings.max_message_size
        self.alarm: str | None = None
        self._publishes = 0
        self.connections: dict[Connection, None] = {}
        self._vhosts = {name: VirtualHost(name, clock, self.defective) for name in self.settings.vhosts}
        if self.defective("vhosts-shared"):
            self._vhosts = dict.fromkeys(self._vhosts, next(iter(self._vhosts.values())))

    def login(self, user: str, password: str) -> bool:
        """Tell whether these credentials are right."""
        known = self.settings.users.get(user)
        return known is not None and same_secret(known, password)

    def vhost(self, name: str) -> VirtualHost | None:
        """Return a virtual host, None when there is none of that name."""
        return self._vhosts.get(name)

    def raise_alarm(self, reason: str) -> None:
        """Block every connection that publishes from now on (statement connection-blocked/01)."""
        self.alarm = reason

    def clear_alarm(self) -> None:
        """Let blocked connections go on."""
        self.alarm = None
        for connection in list(self.connections):
            connection.unblock()

    def note_publish(self) -> None:
        """Look now and then whether the messages that wait take more memory than they may."""
        self._publishes += 1
        if self._publishes % _PUBLISHES_PER_LOOK == 0 and self.alarm is None and self._is_crowded(1.0):
            self.raise_alarm("low on memory")
            self.clock.call_later(_LOOK_INTERVAL, self._look_again)

    def _look_again(self) -> None:
        if self._is_crowded(_RELIEF):
            self.clock.call_later(_LOOK_INTERVAL, self._look_again)
        else:
            self.clear_alarm()

    def _is_crowded(self, share: float) -> bool:
        limit = self.settings.memory_limit
        return bool(limit) and sum(vhost.load() for vhost in set(self._vhosts.values())) > limit * share
