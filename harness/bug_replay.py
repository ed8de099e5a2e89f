"""A recorded conversation said again: as steps, as a script of plain Python, and shrunk to what still shows the fault.

Shrinking needs the broker: a step is left out where without it the broker still answers the end of the conversation as
it did, and the embedded reference broker still answers it differently.
"""

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.harness.evidence import LONGEST_OCTETS, MASK
from mqproof.harness.printable import printable

WEB: Final = "over WebSocket"  # in a transcript's title
GUEST: Final = b"\0guest\0guest"  # the public default, in the place of a login that was masked
GUEST_SAYS: Final = "connection.start-ok as guest: put your login here"
SILENCE: Final = 0.5  # seconds without an answer, after which the next step is said
BRIEF: Final = 0.15  # the same where only the end of the conversation matters
ANSWER: Final = 5.0  # seconds for what a connection's opening owes
SAYS: Final = 70  # characters of what a step says
SCRIPT: Final = '''\
import socket

HOST, PORT = "127.0.0.1", {port}  # the broker
STEPS = [  # connection, octets to send, what they say
{steps}
]
connections = {{}}
for number, octets, says in STEPS:
    if number not in connections:
        connections[number] = socket.create_connection((HOST, PORT), timeout=5)
    connection = connections[number]
    print(f"{{number}} > {{says}}")
    try:
        connection.sendall(bytes.fromhex(octets))
        connection.settimeout({silence})
        while answer := connection.recv(65536):
            print(f"{{number}} < {{answer!r}}")
        print(f"{{number}} < the broker closed the connection")
    except TimeoutError:
        pass
    except OSError as error:
        print(f"{{number}} ! {{error}}")
'''


@dataclass(frozen=True, slots=True)
class Step:
    """What a client says before it listens again; ``number``: of its connection."""

    number: int
    octets: bytes
    says: str


def steps_of(wires: Sequence[dict[str, Any]], url: str) -> list[Step] | None:
    """Return the clients' side of a conversation; None where it is cut, masked, in WebSocket frames, or not kept."""
    if url.startswith("ws") or any(WEB in str(wire.get("title")) for wire in wires):
        return None
    lines = [
        (wire["started"] * 1000 + line["ms"], number, line)
        for number, wire in enumerate(wires, 1)
        for line in wire["lines"]
    ]
    steps: list[Step] = []
    listened = True
    for _, number, line in sorted(lines, key=lambda entry: entry[0]):
        if line["direction"] != ">":
            listened = True
            continue
        step = _step(number, line)
        if step is None:
            return None
        if steps and not listened and steps[-1].number == number:
            step = Step(number, steps[-1].octets + step.octets, f"{steps.pop().says}; {step.says}")
        steps.append(step)
        listened = False
    return steps or None


def _step(number: int, line: dict[str, Any]) -> Step | None:
    octets = bytes.fromhex(line["hex"])
    if not 0 < len(octets) <= LONGEST_OCTETS or len(octets) != line.get("octets"):
        return None
    if MASK.encode() in octets:
        login = _as_guest(octets)
        return Step(number, login, GUEST_SAYS) if login else None
    return Step(number, octets, str(line["text"]))


def _as_guest(octets: bytes) -> bytes | None:
    """Return a masked AMQP login as that of the public default user; None for everything else that is masked."""
    try:
        decoded = amqp.decode(octets)
    except Malformed:
        return None
    if decoded is None or not isinstance(decoded[0], amqp.Method) or decoded[0].name != "connection.start-ok":
        return None
    properties = amqp.plain(decoded[0].arguments["client_properties"])
    return amqp.encode(
        amqp.method(
            "connection.start-ok", 0, client_properties=properties, mechanism="PLAIN", response=GUEST, locale="en_US"
        )
    )


def script_of(steps: Sequence[Step], port: int) -> str:
    """Return a script that says the steps again and prints what comes; it needs nothing but Python."""
    rows = [f'    ({step.number}, "{step.octets.hex()}", {_literal(step.says[:SAYS])}),' for step in steps]
    return SCRIPT.format(port=port, silence=SILENCE, steps="\n".join(rows))


def _literal(text: str) -> str:
    """Return text as Python writes it in double quotes; JSON's pairs of surrogates could not be printed."""
    return json.dumps(printable(text), ensure_ascii=False)


def replay(steps: Sequence[Step], host: str, port: int, protocol: str) -> list[str]:
    """Return what the broker answers to the last step, as kinds of frames; the connection's end is one, too."""
    connections: dict[int, socket.socket] = {}
    heard: list[tuple[int, bytes | None]] = []
    try:
        for index, step in enumerate(steps):
            if step.number not in connections:
                connections[step.number] = socket.create_connection((host, port), ANSWER)
            is_last = index == len(steps) - 1
            heard = _say(step, connections, is_last=is_last)
    finally:
        for connection in connections.values():
            connection.close()
    return [kind for number, octets in heard for kind in _kinds(number, octets, _decoder(steps, number, protocol))]


def _say(step: Step, connections: dict[int, socket.socket], *, is_last: bool) -> list[tuple[int, bytes | None]]:
    """Say a step; return what came on its connection, after the last one on all: octets, and None for the end."""
    heard: list[tuple[int, bytes | None]] = []
    try:
        connections[step.number].sendall(step.octets)
    except OSError:
        heard.append((step.number, None))
    for number in sorted(connections) if is_last else [step.number]:
        heard += [(number, octets) for octets in _listen(connections[number], SILENCE if is_last else BRIEF)]
    return heard


def _listen(connection: socket.socket, seconds: float) -> list[bytes | None]:
    connection.settimeout(seconds)
    octets = b""
    try:
        while more := connection.recv(1 << 16):
            octets += more
    except TimeoutError:
        return [octets] if octets else []
    except OSError:
        pass
    return [octets, None] if octets else [None]


def _decoder(steps: Sequence[Step], number: int, protocol: str) -> Any:
    """Return a decoder for what the broker says on a connection; a CONNECT tells the version of MQTT."""
    if protocol == "amqp":
        return amqp.Decoder()
    client = mqtt.Decoder()
    client.feed(b"".join(step.octets for step in steps if step.number == number))
    try:
        client.next()
    except Malformed:
        pass
    return mqtt.Decoder(client.version)


def _kinds(number: int, octets: bytes | None, decoder: Any) -> list[str]:
    if octets is None:
        return [f"{number} closed"]
    decoder.feed(octets)
    kinds = []
    try:
        while (frame := decoder.next()) is not None:
            kinds.append(f"{number} {_kind(frame)}")
    except Malformed:
        kinds.append(f"{number} malformed")
    return kinds


def _kind(frame: Any) -> str:
    """Return what tells one answer from another, and is the same each time: no names, no numbers that rise."""
    if isinstance(frame, amqp.Method):
        arguments = frame.arguments
        kept = [str(arguments[key]) for key in ("reply_code", "message_count", "redelivered") if key in arguments]
        return " ".join([frame.name, *kept])
    if isinstance(frame, amqp.Body):
        return f"body {frame.payload!r}"
    if isinstance(frame, amqp.ContentHeader):
        return f"header {sorted(frame.properties)}"
    code = getattr(frame, "reason_code", getattr(frame, "reason_codes", ""))
    payload = getattr(frame, "payload", "")
    flags = [getattr(frame, key, "") for key in ("qos", "retain", "dup", "session_present")]
    return f"{type(frame).__name__} {code} {flags} {payload!r}"


def shrink(steps: Sequence[Step], shows: Callable[[Sequence[Step]], bool]) -> list[Step]:
    """Return the fewest steps that still show the fault, leaving out one after the other; the last one stays."""
    kept = list(steps)
    index = len(kept) - 2
    while index >= 0:
        without = kept[:index] + kept[index + 1 :]
        if shows(without):
            kept = without
        index -= 1
    return kept
