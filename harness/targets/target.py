"""A target: one broker and one protocol, named by a URL."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671, "mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
PROTOCOLS = {"amqp": "amqp", "amqps": "amqp", "mqtt": "mqtt", "mqtts": "mqtt", "ws": "mqtt", "wss": "mqtt"}
WEB_PATH = "/mqtt"  # of a ws or wss URL that names no path
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class BadTarget(ValueError):
    """A URL that names no target; the message is one line that says what is wrong and what to write."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How to verify a server: ``ca_file`` instead of the system's authorities, or ``insecure`` to verify nothing."""

    ca_file: Path | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A broker under test. ``capabilities`` and ``product`` are filled in by identification."""

    name: str
    protocol: str  # "amqp" or "mqtt"
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    vhost: str = "/"
    tls: Tls | None = None
    product: str = ""
    version: str = ""
    capabilities: frozenset[str] = frozenset()
    untold: frozenset[str] = frozenset()  # capabilities of which nobody knows whether the broker has them
    properties: dict[str, Any] = field(default_factory=dict, hash=False)
    driver: str | None = None  # the driver that started it; None for somebody else's broker
    path: str | None = None  # MQTT over WebSocket: what the opening handshake asks for; None for plain TCP or TLS
    websocket: "Target | None" = field(default=None, hash=False)  # the same broker over WebSocket, where known
    is_recorded: bool = False  # its packets are kept

    @property
    def scheme(self) -> str:
        """The URL's scheme, ``amqp`` to ``wss``."""
        return (self.protocol if self.path is None else "ws") + ("s" if self.tls else "")

    @property
    def url(self) -> str:
        """The URL, password included: never for output."""
        return self._url(self.password)

    @property
    def redacted_url(self) -> str:
        """The URL with the password masked: the only form that may be shown or written."""
        return self._url("***" if self.password is not None else None)

    @property
    def is_ours(self) -> bool:
        """Whether mqproof itself started this broker, so that tests may disturb it."""
        return self.driver is not None

    @property
    def is_local(self) -> bool:
        """Whether the broker is reached over loopback, so that no other machine's network carries the load."""
        return self.host in LOOPBACK

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def _url(self, password: str | None) -> str:
        login = quote(self.user, safe="") if self.user is not None else ""
        if password is not None:
            login += ":" + (password if password == "***" else quote(password, safe=""))
        host = f"[{self.host}]" if ":" in self.host else self.host
        path = "/" + quote(self.vhost, safe="") if self.protocol == "amqp" and self.vhost != "/" else self.path or ""
        return f"{self.scheme}://{login}{'@' if login else ''}{host}:{self.port}{path}"


def parse_url(url: str, *, tls: Tls | None = None) -> Target:
    """Return the target that ``url`` names.

    ``amqp://user:password@host:port/vhost``; an absent user means ``guest``/``guest`` for AMQP and no login for MQTT;
    an absent path means the virtual host ``/``. ``ws://host:port/path`` is MQTT over WebSocket, ``/mqtt`` where no path
    is named. ``tls`` says how ``amqps``, ``mqtts`` and ``wss`` verify the server. Raises BadTarget.
    """
    parts = urlsplit(url)
    if parts.scheme not in PROTOCOLS:
        raise BadTarget(f"{redact(url)!r} is no target: the scheme must be one of {', '.join(PROTOCOLS)}")
    if not parts.hostname:
        raise BadTarget(f"{redact(url)!r} names no host: write {parts.scheme}://HOST:PORT")
    protocol = PROTOCOLS[parts.scheme]
    user, password = _login(parts, protocol)
    return Target(
        name=f"{parts.hostname}:{_port(parts, url)}",
        protocol=protocol,
        host=parts.hostname,
        port=_port(parts, url),
        user=user,
        password=password,
        vhost=unquote(parts.path[1:]) or "/" if protocol == "amqp" else "/",
        tls=(tls or Tls()) if parts.scheme in ("amqps", "mqtts", "wss") else None,
        path=_web_path(parts, url) if parts.scheme in ("ws", "wss") else None,
    )


def redact(url: str) -> str:
    """Return ``url`` with any password masked, also where it is no valid URL."""
    head, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    login, _, host = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{head}://{user}{':***' if colon else ''}@{host}"


def _port(parts: SplitResult, url: str) -> int:
    try:
        return parts.port or DEFAULT_PORTS[parts.scheme]
    except ValueError:
        raise BadTarget(f"{redact(url)!r} has no valid port: it must be a number from 1 to 65535") from None


def _web_path(parts: SplitResult, url: str) -> str:
    """Return the path and query as the request line of the handshake takes them."""
    path = (parts.path or WEB_PATH) + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise BadTarget(f"{redact(url)!r} has no valid path: write what is not an ASCII letter, digit or sign as %XX")
    return path


def _login(parts: SplitResult, protocol: str) -> tuple[str | None, str | None]:
    if parts.username is None:
        return ("guest", "guest") if protocol == "amqp" else (None, None)
    return unquote(parts.username), unquote(parts.password) if parts.password is not None else None
