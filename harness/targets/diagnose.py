"""What answers on a port, when it is not what the URL says."""

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.deadline import Deadline
from mqproof.harness.targets.errors import Silent, TargetError, WrongProtocol
from mqproof.harness.targets.greetings import NoGreeting
from mqproof.harness.targets.talk import Talk
from mqproof.harness.targets.target import Target, Tls

PROBE_SECONDS = 1.0
HANDSHAKE_SECONDS = 5.0  # for TLS, where the server is not one that says nothing
PROTOCOL_NAMES = {"amqp": "AMQP 0-9-1", "mqtt": "MQTT"}

# A greeting that makes a server of this kind answer. HTTP comes first: its servers are the commonest mistake.
HELLOS = {
    "http": b"GET / HTTP/1.0\r\n\r\n",
    "amqp": amqp.encode(amqp.ProtocolHeader()),
    "mqtt": mqtt.encode(mqtt.Connect(client_id="mqproofprobe"), Version.V3_1_1),
}


def explain(target: Target, said: NoGreeting, deadline: Deadline) -> TargetError:
    """Return the error that says what is at the target's address and what to do."""
    octets = said.octets or _provoke(target, deadline, PROBE_SECONDS if said.silent else HANDSHAKE_SECONDS)
    wanted = PROTOCOL_NAMES[target.protocol]
    where, plain = f"{target.redacted_url}: ", target.with_(tls=None).scheme
    finding = recognise(octets, target)
    if finding:
        return WrongProtocol(f"{where}{finding}")
    if octets:
        return WrongProtocol(f"{where}the server does not speak {wanted} (it says {octets[:16]!r}): check the port")
    if said.silent:
        return Silent(
            f"{where}the server takes the connection and says nothing: is this a port for {wanted}? "
            "A slow broker needs --patience"
        )
    return WrongProtocol(
        f"{where}the server closes the connection without a word: is this a port for {wanted}, "
        f"and does it want TLS ({plain}s://) or an address that it accepts?"
    )


def recognise(octets: bytes, target: Target) -> str:
    """Return what a server that says ``octets`` is, with what to do; empty for something unknown."""
    other = {"amqp": "mqtt", "mqtt": "amqp"}[target.protocol]
    tls, plain = "s" if target.tls else "", target.with_(tls=None).scheme
    if octets.startswith(b"HTTP/"):
        return f"an HTTP server answers on this port: use the port for {PROTOCOL_NAMES[target.protocol]}"
    if octets[:2] in (b"\x15\x03", b"\x16\x03"):
        return f"the server speaks TLS on this port: write {plain}s:// instead of {plain}://"
    if octets.startswith(b"SSH-"):
        return f"an SSH server answers on this port: use the port for {PROTOCOL_NAMES[target.protocol]}"
    if target.protocol == "amqp" and octets.startswith(b"AMQP") and len(octets) >= 8:
        version = "-".join(str(number) for number in octets[5:8])
        return f"the server does not take AMQP 0-9-1, it offers {version}: enable 0-9-1 there"
    if target.protocol == "mqtt" and (octets.startswith(b"AMQP") or octets[:3] == b"\1\0\0"):
        return f"an AMQP server answers on this port: write {other}{tls}:// instead, or use the port for MQTT"
    if target.protocol == "amqp" and _is_connack(octets):
        return f"an MQTT server answers on this port: write {other}{tls}:// instead, or use the port for AMQP"
    return ""


def _is_connack(octets: bytes) -> bool:
    """Whether these are the octets of a CONNACK (MQTT 3.1.1 section 3.2)."""
    return len(octets) >= 4 and octets[0] == 0x20 and octets[1] >= 2 and octets[2] <= 1


def _provoke(target: Target, deadline: Deadline, handshake: float) -> bytes:
    """Return what the server says to the greeting of another protocol, b"" when it answers none of them.

    ``handshake``: seconds for TLS, whose records' first octets are returned where it is spoken.
    """
    for protocol, hello in HELLOS.items():
        if protocol != target.protocol:
            octets = _first_words(target, hello, deadline.sooner(PROBE_SECONDS))
            if recognise(octets, target):
                return octets
    if target.tls is None and _speaks_tls(target, deadline.sooner(handshake)):
        return b"\x16\x03"
    return b""


def _first_words(target: Target, hello: bytes, deadline: Deadline) -> bytes:
    try:
        with Talk(target, deadline) as talk:
            talk.send(hello)
            while not recognise(talk.first_octets, target) and talk.receive():
                pass
            return talk.first_octets
    except (TargetError, TimeoutError):
        return b""


def _speaks_tls(target: Target, deadline: Deadline) -> bool:
    try:
        Talk(target.with_(tls=Tls(insecure=True), path=None), deadline).close()
    except TargetError:
        return False
    return True
