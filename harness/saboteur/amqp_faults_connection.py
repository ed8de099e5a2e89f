"""Faults of AMQP brokers: negotiation, frames, contents, closing."""

from typing import Any

from mqproof.dissectors.amqp.codec import (
    Body,
    ContentHeader,
    Heartbeat,
    Malformed,
    Method,
    ProtocolHeader,
    encode,
    method,
)
from mqproof.dissectors.amqp.tables import FRAME_OVERHEAD
from mqproof.harness.saboteur.amqp_faults import changed, is_method, whole
from mqproof.harness.saboteur.core import AmqpConn, AmqpContentFault, AmqpFault, AmqpResult, fault

START = "amqp-0-9-1:connection.start/"
TUNE_OK = "amqp-0-9-1:connection.tune-ok."
FORCED = Method(0, "connection.close", {"reply_code": 320, "reply_text": "", "class_id": 0, "method_id": 0})


def refusal(frame: Any, code: int = 406) -> Method:
    """Return the close of the frame's channel that a broker would send."""
    return method("channel.close", frame.channel, reply_code=code, reply_text="sabotaged")


# -- negotiation (sections 2.2.4, 2.3.3, 4.2.2) ----------------------------------------------------------------------


@fault(
    "no-header-for-strangers",
    f"{START}protocol-name",
    f"{START}server-support",
    "amqp-0-9-1:4.2.2/version-mismatch",
    says="a header that is not accepted is answered by nothing",
)
class NoHeaderForStrangers(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if isinstance(frame, ProtocolHeader) else None


@fault("names-a-version-it-lacks", "amqp-0-9-1:4.2.2/version-mismatch", says="the version named is none it speaks")
class NamesAVersionItLacks(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [ProtocolHeader(0, 0, 99, 0)] if isinstance(frame, ProtocolHeader) else None


@fault("start-of-another-version", "amqp-0-9-1:2.3.3/header-first", says="connection.start names version 8.0")
class StartOfAnotherVersion(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, version_major=8, version_minor=0)] if is_method(frame, "connection.start") else None


@fault(
    "poor-greeting",
    "amqp-0-9-1:connection.start.server-properties/required-fields",
    "amqp-0-9-1:connection.start.locales/required-support",
    says="server-properties lack platform, and locales en_US",
)
class PoorGreeting(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "connection.start"):
            return None
        properties = {name: value for name, value in frame.arguments["server_properties"].items() if name != "platform"}
        return [changed(frame, server_properties=properties, locales=b"fr_FR")]


@fault("capabilities-hidden", "amqp-0-9-1:server-capabilities/01", says="basic.nack works and is not listed")
class CapabilitiesHidden(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "connection.start"):
            return None
        properties = dict(frame.arguments["server_properties"])
        hidden = {name: value for name, value in properties["capabilities"].items() if name != "basic.nack"}
        return [changed(frame, server_properties=properties | {"capabilities": hidden})]


@fault("field-twice", "amqp-0-9-1:4.2.5.5/duplicate-fields", says="server-properties name the product twice")
class FieldTwice(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "connection.start"):
            return None
        octets = conn.raw
        at = octets.index(b"\x07product")
        end = at + 13 + int.from_bytes(octets[at + 9 : at + 13])
        field = octets[at:end]
        table = int.from_bytes(octets[13:17]) + len(field)
        size = int.from_bytes(octets[3:7]) + len(field)
        return [octets[:3] + size.to_bytes(4) + octets[7:13] + table.to_bytes(4) + field + octets[17:]]


@fault(
    "talks-before-open",
    "amqp-0-9-1:2.2.4/error-closes-socket",
    "amqp-0-9-1:connection.start-ok.mechanism/validity",
    "amqp-0-9-1:auth-failure-close/02",
    f"{TUNE_OK}channel-max/upper-limit",
    f"{TUNE_OK}frame-max/upper-limit",
    says="errors before open are told by connection.close",
)
class TalksBeforeOpen(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        wrong = is_method(frame, "channel.open") and "start-ok" not in conn.memory
        if is_method(frame, "connection.start-ok"):
            conn.memory["start-ok"] = True
            wrong = frame.arguments["mechanism"] == "MQPROOF" or frame.arguments["response"].endswith(b"mqproof-wrong")
        elif is_method(frame, "connection.tune-ok", "connection.open") and "start-ok" not in conn.memory:
            wrong = True
        elif is_method(frame, "connection.tune-ok"):
            offer = conn.memory["offer"]
            wrong = any(frame.arguments[name] > offer[name] for name in ("channel_max", "frame_max"))
        if wrong:
            conn.to_client(FORCED)
        return None

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.tune"):
            conn.memory["offer"] = frame.arguments
        return None


@fault(
    "small-frames-only",
    "amqp-0-9-1:connection.tune.frame-max/minimum",
    f"{TUNE_OK}frame-max/minimum",
    "amqp-0-9-1:2.3.3/client-reduces-limits",
    says="frames of 4096 octets are too large, and nobody may agree to them",
)
class SmallFramesOnly(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        is_padded = is_method(frame, "connection.start-ok") and len(encode(frame)) >= 4096
        if is_padded or (is_method(frame, "connection.tune-ok") and frame.arguments["frame_max"] == 4096):
            conn.to_client(FORCED)
            return []
        return None


@fault(
    "tiny-offer",
    "amqp-0-9-1:connection.tune.frame-max/minimum",
    "amqp-0-9-1:2.3.3/proposes-limits",
    says="a frame size below the minimum is offered",
)
class TinyOffer(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, frame_max=2048)] if is_method(frame, "connection.tune") else None

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, frame_max=131072)] if is_method(frame, "connection.tune-ok") else None


@fault("any-frame-size", f"{TUNE_OK}frame-max/minimum", says="a frame size below the minimum is agreed to")
class AnyFrameSize(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.tune-ok") and 0 < frame.arguments["frame_max"] < 4096:
            return [changed(frame, frame_max=4096)]
        return None


@fault(
    "limits-not-kept",
    "amqp-0-9-1:2.3.3/over-limit-disconnect",
    "amqp-0-9-1:2.3.3/client-reduces-limits",
    "amqp-0-9-1:4.2.3/never-oversized",
    says="the broker forgets what was agreed and keeps to its own limits",
)
class LimitsNotKept(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.tune"):
            conn.memory["offer"] = frame.arguments
        return None

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.tune-ok") and "offer" in conn.memory:
            limits = {name: conn.memory["offer"][name] for name in ("channel_max", "frame_max")}
            return [changed(frame, **limits)]
        return None


@fault("any-channel-number", "amqp-0-9-1:2.3.3/over-limit-disconnect", says="channels may have any number")
class AnyChannelNumber(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.tune"):
            conn.memory["highest"] = frame.arguments["channel_max"]
        return None

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "channel.open") or frame.channel <= conn.memory.get("highest", 0):
            return None
        conn.to_client(method("channel.open-ok", frame.channel))
        return []


@fault("fewer-channels", "amqp-0-9-1:2.3.3/client-reduces-limits", says="the highest agreed channel is refused")
class FewerChannels(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "channel.open") and frame.channel == 7:
            conn.to_client(FORCED)
            return []
        return None


@fault("any-virtual-host", "amqp-0-9-1:connection.open.virtual-host/security", says="every virtual host is opened")
class AnyVirtualHost(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, virtual_host="/")] if is_method(frame, "connection.open") else None


# -- frames (sections 4.2.3, 4.2.7) ----------------------------------------------------------------------------------


@fault(
    "bad-frames-skipped",
    "amqp-0-9-1:4.2.3/frame-end",
    "amqp-0-9-1:4.2.3/unknown-type",
    "amqp-0-9-1:4.8.1/connection-exception",
    "amqp-0-9-1:access-request/01",
    says="a frame that cannot be read is skipped",
)
class BadFramesSkipped(AmqpFault):
    def malformed_from_client(self, error: Malformed, rest: bytes, conn: AmqpConn) -> bytes:
        return rest[int.from_bytes(rest[3:7]) + 8 :]

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        is_second = is_method(frame, "connection.open") and conn.memory.setdefault("open", frame) is not frame
        return [] if is_second or is_method(frame, "queue.declare-ok") else None


@fault("heartbeats-refused", "amqp-0-9-1:4.2.7/heartbeat-channel-zero", says="a heartbeat ends the connection")
class HeartbeatsRefused(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if isinstance(frame, Heartbeat):
            conn.close()
        return None


@fault("traffic-not-counted", "amqp-0-9-1:4.2.7/any-traffic-counts", says="only heartbeats count as signs of life")
class TrafficNotCounted(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.tune-ok") and frame.arguments["heartbeat"] == 1:
            conn.after(2.5, conn.close)
        return None


@fault(
    "exact-size-refused",
    "amqp-0-9-1:4.2.3/oversized",
    "amqp-0-9-1:4.2.6.2/split-body",
    says="a frame of exactly the agreed size is refused",
)
class ExactSizeRefused(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.tune-ok"):
            conn.memory["largest"] = frame.arguments["frame_max"] - FRAME_OVERHEAD
        if isinstance(frame, Body) and len(frame.payload) == conn.memory.get("largest"):
            conn.to_client(FORCED)
        return None


# -- contents (sections 3.1.1, 4.2.6) --------------------------------------------------------------------------------


@fault(
    "bodies-in-one-frame",
    "amqp-0-9-1:4.2.6.2/split-body",
    "amqp-0-9-1:3.1.1/body-unmodified",
    "amqp-0-9-1:4.3/many-channels",
    says="of a body in several frames the last one is lost",
)
class BodiesInOneFrame(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if isinstance(frame, ContentHeader):
            conn.memory[frame.channel] = frame.body_size
        if not isinstance(frame, Body):
            return None
        left = conn.memory[frame.channel] - len(frame.payload)
        is_last = left == 0 and conn.memory.get((frame.channel, "begun"))
        conn.memory[frame.channel], conn.memory[frame.channel, "begun"] = left, left > 0
        return [Body(frame.channel, b"?" * len(frame.payload))] if is_last else None


@fault("last-octet-changed", "amqp-0-9-1:3.1.1/body-unmodified", says="the last octet of long bodies is changed")
class LastOctetChanged(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        return whole(method, header, body[:-1] + b"!") if len(body) >= 4096 else None


class _Properties(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not isinstance(frame, ContentHeader):
            return None
        properties = self.altered(dict(frame.properties))
        return [ContentHeader(frame.channel, frame.class_id, frame.body_size, properties)]

    def altered(self, properties: dict[str, Any]) -> dict[str, Any]:
        return properties


@fault("properties-lost", "amqp-0-9-1:3.1.1/properties-kept", says="app-id, type and long tables are lost on the way")
class PropertiesLost(_Properties):
    def altered(self, properties: dict[str, Any]) -> dict[str, Any]:
        headers = properties.get("headers", {})
        if len(headers) > 100:
            properties["headers"] = dict(list(headers.items())[:100])
        return {name: value for name, value in properties.items() if name not in ("app_id", "type")}


@fault("priority-invented", "amqp-0-9-1:3.1.1/properties-kept", says="a message without properties gets a priority")
class PriorityInvented(_Properties):
    def altered(self, properties: dict[str, Any]) -> dict[str, Any]:
        return properties or {"priority": 0}


@fault(
    "field-types-changed",
    "amqp-0-9-1:field-types/01",
    "amqp-0-9-1:3.1.1/properties-kept",
    says="a table comes back with other types",
)
class FieldTypesChanged(_Properties):
    def altered(self, properties: dict[str, Any]) -> dict[str, Any]:
        if "field" in properties.get("headers", {}):
            properties["headers"] = {"field": str(properties["headers"]["field"])}
        return properties


@fault("field-names-cut", "amqp-0-9-1:4.2.5.5/field-names", says="field names are cut to 64 octets")
class FieldNamesCut(_Properties):
    def altered(self, properties: dict[str, Any]) -> dict[str, Any]:
        if "headers" in properties:
            properties["headers"] = {name[:64]: value for name, value in properties["headers"].items()}
        return properties


@fault(
    "odd-tables-silence",
    "amqp-0-9-1:4.2.5.5/field-names",
    "amqp-0-9-1:4.2.5.5/duplicate-fields",
    says="a declare with an odd table is never answered",
)
class OddTablesSilence(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare") and frame.arguments["arguments"] and len(conn.raw) > 40:
            names = [name for name in frame.arguments["arguments"] if not name.startswith("x-")]
            return [] if names else None
        return None

    def malformed_from_client(self, error: Malformed, rest: bytes, conn: AmqpConn) -> bytes:
        return b""
