"""What brokers count themselves: Mosquitto's ``$SYS``, RabbitMQ's management, anybody's Prometheus endpoint."""

import base64
import json
import re
from http.client import HTTPException
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import gevent
from gevent.event import Event
from mqproof.dissectors.mqtt.codec import Pingreq, Pingresp, Publish, Suback, Subscribe, Subscription, encode
from mqproof.harness.targets.target import Target
from mqproof.loadtests.engine.mqtt import VERSION, MqttWire
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.wire import Broken, Scratch

SYS = {  # topic below $SYS/broker/ -> what it says
    "publish/messages/dropped": "dropped",
    "clients/connected": "connections",
    "heap/current": "broker_memory",
    "messages/stored": "stored",
}
# The last of Mosquitto's counters, and one that always changes: what came before it is as of now.
LAST_OF_A_ROUND = "$SYS/broker/bytes/sent"
PROMETHEUS = {  # names of metrics -> what their sum says
    "rabbitmq_connections": "connections",
    "rabbitmq_queue_messages": "depth",
    "rabbitmq_process_resident_memory_bytes": "broker_memory",
    "process_resident_memory_bytes": "broker_memory",
    "rabbitmq_global_messages_unroutable_dropped_total": "dropped",
    "rabbitmq_global_messages_dead_lettered_maxlen_total": "dropped",
    "emqx_messages_dropped": "dropped",
    "emqx_connections_count": "connections",
}
LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+([-+0-9.eE]+)")
SECONDS = 3.0
AGAIN = 1.0  # seconds before a connection that ended is tried again
MOST = 4 << 20  # octets of an answer


class SysTopics:
    """The counters that a broker publishes about itself."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.values: dict[str, float] = {}
        self.rounds = 0  # how often the broker has told all of them since the start
        self._is_known = Event()  # what they were at the start
        self._greenlet: Any = None

    def start(self) -> None:
        """Subscribe, and wait for what stood there before; a broker that shows nothing leaves the values empty."""
        self._greenlet = gevent.spawn(self._run)
        self._is_known.wait(SECONDS)

    def stop(self) -> None:
        """Disconnect."""
        if self._greenlet is not None:
            self._greenlet.kill()

    @property
    def counts_drops(self) -> bool:
        """Whether the broker says how many messages it dropped."""
        return "dropped" in self.values

    @property
    def dropped(self) -> float:
        """How many messages it says that it dropped, ever."""
        return self.values.get("dropped", 0.0)

    def sample(self) -> dict[str, float]:
        """Return what it says now."""
        return {name: value for name, value in self.values.items() if name != "broker_memory"}

    def _run(self) -> None:
        """Listen, and come back when the broker does; what it said before it went away is no more."""
        while True:
            try:
                self._listen()
                return
            except Broken:
                self.values = {}
            finally:
                self._is_known.set()
            gevent.sleep(AGAIN)

    def _listen(self) -> None:
        wire = MqttWire(self._target, Scratch(), Names("").client_id("y", 0), buffer=65536)
        topics = [*(f"$SYS/broker/{topic}" for topic in SYS), LAST_OF_A_ROUND]
        filters = tuple(Subscription(topic, 0) for topic in topics)
        wire.send(encode(Subscribe(1, filters), VERSION) + encode(Pingreq(), VERSION))
        wire.socket.settimeout(None)
        while True:
            packet = wire.answer()
            if isinstance(packet, Publish):
                self._note(packet)
            elif isinstance(packet, Suback) and all(code > 2 for code in packet.reason_codes):
                return
            elif isinstance(packet, Pingresp):
                self._is_known.set()

    def _note(self, packet: Publish) -> None:
        if packet.topic == LAST_OF_A_ROUND and not packet.retain:
            self.rounds += 1
        name = SYS.get(packet.topic.removeprefix("$SYS/broker/"))
        try:
            if name is not None:
                self.values[name] = float(packet.payload)
        except ValueError:
            pass  # words instead of a number


def from_url(url: str) -> dict[str, float]:
    """Return what a statistics endpoint says: management where the path is empty, Prometheus text elsewhere.

    Raises OSError, and ValueError where something else answers.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("a statistics endpoint is reached by http or https")
    base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username else ""
    if parts.path.strip("/"):
        return _prometheus(_get(base + parts.path, login).decode("utf-8", "replace"))
    overview = json.loads(_get(f"{base}/api/overview", login))
    nodes = json.loads(_get(f"{base}/api/nodes", login))
    try:
        return {
            "connections": float(overview["object_totals"]["connections"]),
            "depth": float(overview["queue_totals"].get("messages", 0)),
            "broker_memory": float(sum(node.get("mem_used", 0) for node in nodes)),
            "dropped": float(overview.get("message_stats", {}).get("drop_unroutable", 0)),
        }
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{parts.hostname} answers, but not as RabbitMQ's management: {error}") from None


class NoRedirects(HTTPRedirectHandler):
    """Follows nobody to another place: the login would go there, too."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request, so that the answer is an error."""


def _get(url: str, login: str) -> bytes:
    request = Request(url)
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    try:
        with build_opener(NoRedirects).open(request, timeout=SECONDS) as answer:
            return bytes(answer.read(MOST))
    except HTTPException as error:
        raise ValueError(f"no HTTP: {error}") from None


def _prometheus(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match and (name := PROMETHEUS.get(match[1])):
            found[name] = found.get(name, 0.0) + float(match[2])
    return found
