"""MQTT as an application sees it: paho, with a deadline on every step and a transcript of what was said.

Whatever goes wrong in a step raises Blocked; only the line of the test that checks a statement accuses.
"""

import queue
import ssl
import threading
from dataclasses import dataclass
from typing import Any

from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.patience import patience
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Unsupported
from mqproof.harness.wires.base import Transcript, tls_context
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

STEP = 5.0  # seconds, before patience
KEEP_ALIVE = 60  # seconds
PROTOCOLS = {Version.V3_1_1: MQTTProtocolVersion.MQTTv311, Version.V5_0: MQTTProtocolVersion.MQTTv5}


@dataclass(frozen=True, slots=True)
class Received:
    """A message as the application gets it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


class MqttClient:
    """One connected paho client, served by paho's own thread."""

    def __init__(self, target: Target, version: Version, client_id: str, *, title: str = "MQTT client") -> None:
        """Connect. Raises Blocked."""
        self.transcript = Transcript(f"{title} ({version.spec})")
        self._messages: queue.Queue[Received] = queue.Queue()
        self._answers: dict[tuple[str, int], list[int]] = {}
        self._changed = threading.Condition()
        self._connected = threading.Event()
        clean: dict[str, Any] = {} if version is Version.V5_0 else {"clean_session": True}
        self._paho = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=PROTOCOLS[version], **clean,
            transport="tcp" if target.path is None else "websockets",
        )  # fmt: skip
        self._prepare(target)
        self._open(target)

    def _prepare(self, target: Target) -> None:
        if target.path is not None:
            self._paho.ws_set_options(path=target.path)
        if target.user is not None:
            self._paho.username_pw_set(target.user, target.password)
        if target.tls is not None:
            context: ssl.SSLContext = tls_context(target)
            self._paho.tls_set_context(context)
        self._paho.on_connect = self._on_connect
        self._paho.on_message = self._on_message
        self._paho.on_subscribe = lambda client, data, number, codes, more: self._note("SUBACK", number, codes)
        self._paho.on_publish = lambda client, data, number, code, more: self._note("published", number, [code])

    def _open(self, target: Target) -> None:
        try:
            self._paho.connect(target.host, target.port, keepalive=KEEP_ALIVE)
        except OSError as error:
            raise Blocked(f"no connection to {target.redacted_url}: {error}") from error
        self._paho.loop_start()
        if not self._connected.wait(patience.seconds(STEP)):
            self.close()
            raise Blocked("the broker does not accept the connection of a paho client")

    def _on_connect(self, client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.transcript.add("<", b"", f"connected: {code}")
        if not code.is_failure:
            self._connected.set()

    def _on_message(self, client: Any, data: Any, message: Any) -> None:
        got = Received(message.topic, message.payload, message.qos, message.retain)
        self.transcript.add("<", b"", f"message {got}")
        self._messages.put(got)

    def _note(self, what: str, number: int, codes: Any) -> None:
        with self._changed:
            values = [int(code.value) for code in codes]
            self._answers[what, number] = values
            self.transcript.add("<", b"", f"{what} {number} {values}")
            self._changed.notify_all()

    def _await(self, what: str, number: int) -> list[int]:
        with self._changed:
            if not self._changed.wait_for(lambda: (what, number) in self._answers, patience.seconds(STEP)):
                raise Blocked(f"no {what} for packet {number}")
            return self._answers.pop((what, number))

    def subscribe(self, topic_filter: str, qos: int = 0) -> None:
        """Subscribe. Raises Blocked when refused, Unsupported when less QoS is granted."""
        self.transcript.add(">", b"", f"subscribe {topic_filter} at QoS {qos}")
        _, number = self._paho.subscribe(topic_filter, qos)
        granted = self._await("SUBACK", number or 0)[0]
        if granted >= 0x80:
            raise Blocked(f"the subscription to {topic_filter} is refused with 0x{granted:02X}")
        if granted < qos:
            raise Unsupported(f"the broker grants QoS {granted} where {qos} is asked for (SUBACK, section 3.9.3)")

    def publish(self, topic: str, payload: bytes, qos: int = 0) -> bytes:
        """Publish and return the payload when the exchange is complete (QoS 0: sent). Raises Blocked."""
        self.transcript.add(">", b"", f"publish {payload!r} on {topic} at QoS {qos}")
        number = self._paho.publish(topic, payload, qos).mid
        self._await("published", number)
        return payload

    def until(self, payload: bytes) -> list[Received]:
        """Return the messages up to the one with this payload, the fence. Raises Blocked."""
        found: list[Received] = []
        while not found or found[-1].payload != payload:
            try:
                found.append(self._messages.get(timeout=patience.seconds(STEP)))
            except queue.Empty:
                raise Blocked(f"the fence {payload!r} did not come; {found} did") from None
        return found

    def close(self) -> None:
        """Disconnect and end paho's thread."""
        self._paho.disconnect()
        self._paho.loop_stop()
