"""What is commonly said of both protocols, held against what was measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mqproof.dissectors.amqp.codec import Method, decode
from mqproof.harness.choose import Candidate, Choice, Sentence, shown_measure
from mqproof.harness.run import Run
from mqproof.harness.verdicts import Verdict

EXACTLY_ONCE = ("mqtt-3.1.1:MQTT-4.3.3-", "mqtt-5.0:MQTT-4.3.3-")
SHOWN_OCTETS = 16
RECOMMENDED = {"order-processing": "amqp", "dog-gps": "mqtt", "home-automation": "mqtt"}  # what introductions say


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as it was made, whether it holds here, and the evidence."""

    quote: str
    finding: str  # holds, wrong, incomplete
    evidence: Sentence


def claims(choices: Sequence[Choice], run: Run) -> list[Claim]:
    """Return the claims that these measurements can judge; none without one candidate of each protocol."""
    found: list[Claim] = []
    for choice in choices:
        pair = {one.protocol: one for one in choice.candidates}
        if len(pair) == 2:
            if not found and not any(one.tls for one in choice.candidates):  # what TLS adds is not the protocol's own
                found += _of_pair(choice, pair["amqp"], pair["mqtt"], run)
            found += _of_choice(choice, pair)
    return found


def _of_pair(choice: Choice, amqp: Candidate, mqtt: Candidate, run: Run) -> Iterator[Claim]:
    if amqp.value("message_protocol") is not None and mqtt.value("message_protocol") is not None:
        yield _text_headers(choice, amqp)
        yield _two_bytes(choice, amqp, mqtt)
    if amqp.value("memory_idle_mb") is not None and mqtt.value("memory_idle_mb") is not None:
        yield _server_memory(choice, amqp, mqtt)
    yield from _exactly_once(mqtt, run)


def _text_headers(choice: Choice, amqp: Candidate) -> Claim:
    octets = bytes.fromhex(amqp.first_publish)
    decoded = decode(octets)
    assert decoded is not None
    frame, size = decoded
    assert isinstance(frame, Method)
    text = sum(len(frame.arguments[name].encode()) for name in ("exchange", "routing_key"))
    shown = octets[:SHOWN_OCTETS].hex(" ")
    evidence = (
        f"AMQP's headers are binary: the method frame of a publish in {choice.workload} begins {shown}, and of its "
        f"{size} octets {text} are text, the names of exchange and routing key; a message costs "
        f"{shown_measure(amqp.facts['message_protocol'])} beside its payload."
    )
    refers = (f"{amqp.name}/message_protocol", f"{amqp.name}/first_publish")
    return Claim("Overhead of AMQP: moderate (text-based headers)", "wrong", Sentence(evidence, refers))


def _two_bytes(choice: Choice, amqp: Candidate, mqtt: Candidate) -> Claim:
    own = [shown_measure(one.facts["message_protocol"]) for one in (mqtt, amqp)]
    whole = [shown_measure(one.facts["message_octets"]) for one in (mqtt, amqp)]
    octets = bytes.fromhex(mqtt.first_publish)
    fixed = next(index for index, octet in enumerate(octets[1:5], 2) if not octet & 0x80)  # the length's last octet
    topic = int.from_bytes(octets[fixed : fixed + 2])
    evidence = (
        f"In {choice.workload} a message costs {own[0]} of MQTT beside its payload ({own[1]} of AMQP): the fixed "
        f"header takes {fixed} octets of it, the topic's name, sent each time, {topic}; with TCP/IP and "
        f"acknowledgements it is {whole[0]} against {whole[1]}, payload included."
    )
    refers = tuple(f"{one.name}/{key}" for one in (mqtt, amqp) for key in ("message_protocol", "message_octets"))
    quote = "Overhead of MQTT: extremely low (2-byte fixed header)"
    return Claim(quote, "incomplete", Sentence(evidence, refers))


def _server_memory(choice: Choice, amqp: Candidate, mqtt: Candidate) -> Claim:
    idle = amqp.facts["memory_idle_mb"], mqtt.facts["memory_idle_mb"]
    each = amqp.facts["memory_per_connection_kb"], mqtt.facts["memory_per_connection_kb"]
    evidence = (
        f"{amqp.title} takes {shown_measure(idle[0])} when idle and {shown_measure(each[0])} for each connection, "
        f"{mqtt.title} {shown_measure(idle[1])} and {shown_measure(each[1])}: of these products, not of the protocols."
    )
    holds = (idle[0].value or 0) > 2 * (idle[1].value or 0)
    measures = ("memory_idle_mb", "memory_per_connection_kb")
    refers = tuple(f"{one.name}/{key}" for one in (amqp, mqtt) for key in measures)
    quote = "Resources of AMQP: requires significant server RAM"
    return Claim(quote, "holds" if holds else "wrong", Sentence(evidence, refers))


def _exactly_once(mqtt: Candidate, run: Run) -> Iterator[Claim]:
    rows = [row for row in run.statements if row["target"] == mqtt.name]
    rows = [row for row in rows if f"{row['spec']}:{row['id']}".startswith(EXACTLY_ONCE)]
    broken = [row for row in rows if row["verdict"] in (Verdict.DEVIATES, Verdict.KNOWN_DEVIATION)]
    if rows:
        first = f", such as {broken[0]['id']}: {broken[0]['reason']}" if broken else ""
        text = (
            f"Of {len(rows)} statements on QoS 2 that were judged on {mqtt.title}, {len(broken)} are broken{first}"
        )
        quote = "QoS 2: exactly once, guaranteed one-time delivery via a 4-way handshake"
        refers = tuple(f"{row['spec']}:{row['id']}" for row in broken or rows)
        yield Claim(quote, "incomplete" if broken else "holds", Sentence(text.rstrip(".") + ".", refers))


def _of_choice(choice: Choice, pair: dict[str, Candidate]) -> Iterator[Claim]:
    said = RECOMMENDED.get(choice.workload)
    if said is None:
        return
    chosen = next((name for name, one in pair.items() if one.name == choice.recommended), None)
    finding = "holds" if chosen == said else "wrong" if chosen else "undecided"
    yield Claim(f"{choice.title.partition(':')[0]}: use {said.upper()}", finding, choice.sentences[0])
