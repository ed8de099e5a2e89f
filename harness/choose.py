"""Which of two brokers for a workload: from measurements to a recommendation in which every sentence has a number.

The rule is open: first what the workload needs and the conformance tests showed to work, then whether the rate is held
with the guarantees on and nothing lost, then which of the costs are lower by more than a tenth.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from mqproof.harness.choose_measure import Memory, Phase, Sample
from mqproof.harness.printable import counted
from mqproof.harness.run import Run
from mqproof.harness.statements.registry import load as registry
from mqproof.harness.verdicts import Verdict
from mqproof.harness.workload import Flow, Workload

SCHEMA: Final = 1
DAY: Final = 86_400.0  # seconds
MONTH: Final = 30 * DAY
EXACTLY_ONCE: Final = "exactly-once"  # what QoS 2 of a flow asks for
CLEAR: Final = 0.10  # a smaller difference is none

# What shows that a feature works: a statement (its pattern "spec:id"); None where the protocol has no such thing.
# Several: any of them.
PROOFS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "topic-routing": {
        "amqp": ("amqp-0-9-1:3.1.3.3/words",),
        "mqtt": ("mqtt-5.0:MQTT-3.3.2-3", "mqtt-3.1.1:MQTT-3.3.2-3"),
    },
    "header-routing": {"amqp": ("amqp-0-9-1:3.1.3.4/all",), "mqtt": ()},
    "work-queue": {"amqp": ("amqp-0-9-1:3.1.4/one-client",), "mqtt": ("mqtt-5.0:MQTT-4.8.2-3",)},
    "fan-out": {"amqp": ("amqp-0-9-1:3.1.3.2/match",), "mqtt": ("mqtt-5.0:MQTT-4.5.0-1", "mqtt-3.1.1:MQTT-4.5.0-1")},
    "replay": {"amqp": ("amqp-0-9-1:stream-queue/03",), "mqtt": ()},
    "last-value": {"amqp": (), "mqtt": ("mqtt-5.0:MQTT-3.3.1-9", "mqtt-3.1.1:MQTT-3.3.1-6")},
    "presence": {"amqp": (), "mqtt": ("mqtt-5.0:MQTT-3.1.2-8", "mqtt-3.1.1:MQTT-3.1.2-8")},
    "offline-queue": {
        "amqp": ("amqp-0-9-1:3.1.4/fifo-one-consumer",),
        "mqtt": ("mqtt-5.0:MQTT-3.1.2-23", "mqtt-3.1.1:MQTT-3.1.2-5"),
    },
    "persistence": {"amqp": ("amqp-0-9-1:3.1.4/persistent-survives",), "mqtt": ()},
    "dead-letter": {"amqp": ("amqp-0-9-1:dead-letter/01",), "mqtt": ()},
    "priorities": {"amqp": ("amqp-0-9-1:priority-queue/01",), "mqtt": ()},
    "expiry": {"amqp": ("amqp-0-9-1:message-ttl-message/01",), "mqtt": ("mqtt-5.0:MQTT-3.3.2-5",)},
    EXACTLY_ONCE: {"amqp": (), "mqtt": ("mqtt-5.0:MQTT-4.3.3-10", "mqtt-3.1.1:MQTT-4.3.3-2")},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured number. ``spread``: lowest and highest of its repeats; ``how``: where it comes from."""

    value: float | None
    unit: str
    how: str
    spread: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """One need of the workload: whether it is met, and the verdict of the statement that shows it."""

    feature: str
    is_met: bool
    proof: str


@dataclass(slots=True)
class Candidate:
    """What one target came to on one workload; ``facts`` are the measures by name."""

    name: str
    product: str
    version: str
    protocol: str
    first_publish: str = ""  # the first message as it stands in the stream, hexadecimal
    facts: dict[str, Measure] = field(default_factory=dict)
    needs: list[Need] = field(default_factory=list)
    tls: str = ""  # the version that everything was measured over; empty without TLS

    @property
    def title(self) -> str:
        """Product and version, else the name."""
        return f"{self.product} {self.version}".strip() or self.name

    @property
    def unmet(self) -> list[Need]:
        """The needs that are not met."""
        return [need for need in self.needs if not need.is_met]

    def value(self, name: str) -> float | None:
        """Return a measure's number, None where it was not measured."""
        return self.facts[name].value if name in self.facts else None


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a recommendation, and the measures (``target/measure``) or verdicts that it refers to."""

    text: str
    refers: tuple[str, ...]


@dataclass(slots=True)
class Choice:
    """The comparison of both on one workload."""

    workload: str
    title: str
    candidates: list[Candidate]
    recommended: str | None = None  # the target's name; None where nothing tells them apart
    sentences: list[Sentence] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Criterion:
    """A cost or a gain: its measure, in words, and whether more is better."""

    measure: str
    words: str
    more_is_better: bool = False


CRITERIA: Final = (
    Criterion("month_mb", "traffic of one device in a month"),
    Criterion("p99_ms", "99th percentile of the latency under a paced load"),
    Criterion("throughput", "throughput with the guarantees that it asks for", more_is_better=True),
    Criterion("lost_at_full_speed", "messages lost when flooded"),
    Criterion("memory_mb", "memory for this workload's connections"),
    Criterion("memory_per_queued", "memory of each queued message"),
    Criterion("cpu_per_million", "CPU for a million messages"),
    Criterion("broken_percent", "statements broken of those judged, known deviations included"),
)


def facts_of_sample(workload: Workload, sample: Sample, protocol: str) -> dict[str, Measure]:
    """Return octets and packets of messages, connections and signs of life, and what they come to in a month."""
    how = "captured sample" if sample.kind == "dumpcap" else ""
    if not how:  # a recording proxy has no real packets
        return {"month_mb": Measure(None, "MB", "packets may not be captured here: run as root")}
    facts: dict[str, Measure] = {}
    rate = sum(flow.rate for flow in workload.flows)
    for flow in workload.flows:
        phase = sample.of(flow.name)
        for key, total, unit in (
            ("octets", phase.octets, "B"),
            ("packets", phase.packets, ""),
            ("protocol", phase.stream - phase.payload, "B"),
            ("payload", phase.payload, "B"),
        ):
            facts[f"{flow.name}: {key}"] = Measure(total / phase.count, unit, how)
    shares = [(flow.rate / rate, flow) for flow in workload.flows]
    for key, unit in (("octets", "B"), ("packets", ""), ("protocol", "B"), ("payload", "B")):
        mean = sum(share * (facts[f"{flow.name}: {key}"].value or 0) for share, flow in shares)
        facts[f"message_{key}"] = Measure(mean, unit, f"{how}, mean of the flows by their rates")
    facts["connection_octets"] = Measure(_connection(sample), "B", how)
    facts["ping_octets"] = Measure(_per(sample.of("pings")), "B", how)
    month = month_of(workload, facts, protocol)
    facts["month_mb"] = Measure(month / 1e6, "MB", f"{how}: messages, signs of life and reconnections in 30 days")
    return facts


def month_of(workload: Workload, facts: dict[str, Measure], protocol: str) -> float:
    """Return the octets of one device in 30 days."""
    rate = sum(flow.rate for flow in workload.flows)
    messages = rate * (facts["message_octets"].value or 0)
    pings = _pings_per_second(workload, rate, protocol) * (facts["ping_octets"].value or 0)
    connections = workload.reconnects_per_day / DAY * (facts["connection_octets"].value or 0)
    return MONTH * (messages + pings + connections)


def _pings_per_second(workload: Workload, rate: float, protocol: str) -> float:
    """Return the signs of life that are due beside the messages.

    MQTT 3.1.2.10: the client, once in the keep-alive when it says nothing else. AMQP 4.2.7: both, twice in the
    heartbeat interval; the broker's are saved only by what it sends, which are the confirms.
    """
    if not workload.keep_alive:
        return 0.0
    if protocol == "mqtt":
        return max(0.0, 1 / workload.keep_alive - rate)
    due = 2 / workload.keep_alive
    answered = sum(flow.rate for flow in workload.flows if flow.qos)
    return max(0.0, due - rate) + max(0.0, due - answered)


def _connection(sample: Sample) -> float:
    kept = ("connect", "close")
    return float(
        sum(one.octets for one in sample.phases if one.name in kept or one.name.startswith("confirm.select before"))
    )


def _per(phase: Phase) -> float:
    return phase.octets / phase.count


def facts_of_memory(workload: Workload, memory: Memory | None) -> dict[str, Measure]:
    """Return the memory's measures; none of them where the broker's process is not ours to look at."""
    if memory is None:
        return {"memory_mb": Measure(None, "MB", "the broker's process is not ours: name a local broker")}
    connections = workload.devices + workload.consumers
    whole = memory.idle + connections * memory.per_connection
    return {
        "memory_idle_mb": Measure(memory.idle / 1e6, "MB", "resident memory when just started"),
        "memory_per_connection_kb": Measure(memory.per_connection / 1e3, "kB", "300 idle connections"),
        "memory_per_queued": Measure(memory.per_queued, "B", "18,000 messages of the main flow, queued"),
        "memory_mb": Measure(whole / 1e6, "MB", f"idle, and {connections} connections"),
    }


def facts_of_load(paced: dict[str, Any], full: Sequence[dict[str, Any]], cpu: float | None) -> dict[str, Measure]:
    """Return latency of the paced load, throughput of repeated runs, what was lost, and CPU."""
    latency = paced["metrics"]["latency_us"]
    rates = sorted(float(one["metrics"]["delivery_rate_msg_s"] or 0.0) for one in full)
    delivered = sum(one["metrics"]["delivered"] for one in full)
    facts = {
        f"{name}_ms": Measure(latency[name] / 1000 if latency[name] is not None else None, "ms", "paced load")
        for name in ("p50", "p99")
    }
    facts["paced_rate"] = Measure(paced["metrics"]["delivery_rate_msg_s"], "msg/s", "paced load")
    spread = (rates[0], rates[-1])
    where = f"{counted(len(rates), 'run')} at full speed"
    facts["throughput"] = Measure(rates[len(rates) // 2], "msg/s", where, spread)
    facts["lost"] = Measure(float(paced["ledger"]["lost"]), "", "paced load")
    lost = float(sum(one["ledger"]["lost"] for one in full))
    facts["lost_at_full_speed"] = Measure(lost, "", counted(len(full), "run"))
    facts["duplicated"] = Measure(float(sum(one["ledger"]["duplicated"] for one in [paced, *full])), "", "all loads")
    if cpu is not None and delivered:
        facts["cpu_per_million"] = Measure(cpu / delivered * 1e6, "s", "CPU seconds of the broker's processes")
    return facts


def facts_of_run(run: Run, target: str) -> dict[str, Measure]:
    """Return how many statements were judged and how many are broken on a target."""
    rows = [row for row in run.statements if row["target"] == target]
    broken = [row for row in rows if row["verdict"] in (Verdict.DEVIATES, Verdict.KNOWN_DEVIATION)]
    judged = [row for row in rows if row["verdict"] == Verdict.CONFORMS] + broken
    how = "conformance tests"
    share = 100 * len(broken) / len(judged) if judged else None
    return {
        "judged": Measure(len(judged), "", how),
        "deviations": Measure(len(broken), "", how),
        "broken_percent": Measure(share, "%", how),
    }


def needs_of(workload: Workload, run: Run, target: str, protocol: str) -> list[Need]:
    """Return whether each need of the workload is met on a target, by the verdict of the statement that shows it."""
    verdicts = {f"{row['spec']}:{row['id']}": row["verdict"] for row in run.statements if row["target"] == target}
    return [_need(feature, verdicts, protocol) for feature in wanted(workload)]


def wanted(workload: Workload) -> list[str]:
    """Return the features that a workload needs; QoS 2 of a flow asks for exactly once."""
    return [*workload.needs, *([EXACTLY_ONCE] if any(flow.qos == 2 for flow in workload.flows) else [])]


def proofs_of(workload: Workload) -> list[str]:
    """Return the statements (qualified ids) whose verdicts show whether the workload's needs are met."""
    return [key for feature in wanted(workload) for keys in PROOFS[feature].values() for key in keys]


def _need(feature: str, verdicts: dict[str, str], protocol: str) -> Need:
    proofs = PROOFS[feature][protocol]
    if not proofs:
        total = sum(statement.spec.startswith(protocol) for statement in registry().values())
        return Need(feature, False, f"none of the {total} statements of {protocol.upper()} promises it")
    for key in proofs:
        if verdicts.get(key) == Verdict.CONFORMS:
            return Need(feature, True, f"{key} conforms")
    found = next((f"{key} {verdicts[key]}" for key in proofs if key in verdicts), f"{proofs[0]} untested")
    return Need(feature, False, found)


def choose(workload_name: str, workload: Workload, candidates: Sequence[Candidate]) -> Choice:
    """Return the recommendation between two candidates, each sentence with the numbers that it rests on."""
    choice = Choice(workload_name, workload.title, list(candidates))
    first, second = candidates
    choice.sentences += _about_tls(workload, candidates)
    for rule in (_by_needs, _by_rate, _by_costs):
        winner = rule(workload, first, second, choice.sentences)
        if winner is not None and choice.recommended is None:
            choice.recommended = winner.name
    chosen = next((one for one in candidates if one.name == choice.recommended), None)
    summary = _summary(chosen, first, second)
    choice.sentences.insert(0, summary)
    return choice


def _summary(chosen: Candidate | None, first: Candidate, second: Candidate) -> Sentence:
    both = (first, second)
    counts = [f"{one.title} meets {len(one.needs) - len(one.unmet)} of {len(one.needs)} needs" for one in both]
    refers = tuple(f"{one.name}/needs" for one in (first, second))
    if chosen is None:
        return Sentence(f"Either: {' and '.join(counts)}, and the costs do not tell them apart.", refers)
    return Sentence(f"Use {chosen.title}: {', '.join(counts)}.", refers)


def _about_tls(workload: Workload, candidates: Sequence[Candidate]) -> list[Sentence]:
    """Say over which TLS was measured where the workload asks for it, and what a connection then costs."""
    known = [one for one in candidates if one.value("connection_octets") is not None]
    if not workload.tls or not known:
        return []
    shown = [
        f"{shown_measure(one.facts['connection_octets'])} on {one.title} ({one.tls or 'measured without TLS'})"
        for one in known
    ]
    text = f"TLS is asked for: connecting and disconnecting takes {', '.join(shown)}."
    return [Sentence(text, tuple(f"{one.name}/connection_octets" for one in known))]


def _by_needs(workload: Workload, first: Candidate, second: Candidate, sentences: list[Sentence]) -> Candidate | None:
    for one in (first, second):
        if one.unmet:
            missing = "; ".join(f"{need.feature} ({need.proof})" for need in one.unmet)
            count = f"{len(one.unmet)} of {len(one.needs)} needs"
            sentences.append(Sentence(f"Not met by {one.title}: {count}: {missing}.", (f"{one.name}/needs",)))
    if len(first.unmet) == len(second.unmet):
        return None
    return first if len(first.unmet) < len(second.unmet) else second


def _by_rate(workload: Workload, first: Candidate, second: Candidate, sentences: list[Sentence]) -> Candidate | None:
    """Say whether each holds the workload's rate, with nothing lost there that the guarantee does not allow.

    What a broker drops that is flooded at full speed is said, and counts as a cost.
    """
    held = []
    for one in (first, second):
        throughput, lost, paced = (one.value(key) for key in ("throughput", "lost", "paced_rate"))
        if throughput is None or lost is None or paced is None:
            continue
        is_held = throughput >= workload.rate and (lost == 0 or dominant(workload).qos == 0)
        held.append((one, is_held))
        text = (
            f"{one.title} lost {lost:,.0f} messages at {paced:,.0f} a second, and delivered {throughput:,.0f} a second "
            f"at full speed with the guarantees that the workload asks for, where it lost "
            f"{one.value('lost_at_full_speed') or 0:,.0f}; {shown_number(workload.rate)} are asked for: "
            f"{'held' if is_held else 'not held'}."
        )
        measures = ("lost", "paced_rate", "throughput", "lost_at_full_speed")
        sentences.append(Sentence(text, tuple(f"{one.name}/{measure}" for measure in measures)))
    winners = [one for one, is_held in held if is_held]
    return winners[0] if len(held) == 2 and len(winners) == 1 else None


def _by_costs(workload: Workload, first: Candidate, second: Candidate, sentences: list[Sentence]) -> Candidate | None:
    """Compare cost by cost; the one that is clearly better in more of them wins."""
    wins = {first.name: 0, second.name: 0}
    for criterion in CRITERIA:
        values = first.value(criterion.measure), second.value(criterion.measure)
        if values[0] is None or values[1] is None:
            continue
        better = _clearly_better(values[0], values[1], criterion.more_is_better)
        if better is not None:
            wins[(first, second)[better].name] += 1
        sentences.append(_cost_sentence(criterion, first, second, better))
    if wins[first.name] == wins[second.name]:
        return None
    return first if wins[first.name] > wins[second.name] else second


def _clearly_better(a: float, b: float, more_is_better: bool) -> int | None:
    if abs(a - b) <= CLEAR * max(abs(a), abs(b)):
        return None
    return int((b > a) == more_is_better)


def _cost_sentence(criterion: Criterion, first: Candidate, second: Candidate, better: int | None) -> Sentence:
    shown = [f"{shown_measure(one.facts[criterion.measure])} on {one.title}" for one in (first, second)]
    refers = tuple(f"{one.name}/{criterion.measure}" for one in (first, second))
    verdict = f"{(first, second)[better].title} is better" if better is not None else "no clear difference"
    words = criterion.words[0].upper() + criterion.words[1:]
    return Sentence(f"{words}: {shown[0]}, {shown[1]}: {verdict}.", refers)


def shown_measure(measure: Measure) -> str:
    """Return a measure for people, its spread beside it."""
    if measure.value is None:
        return f"not measured ({measure.how})"
    text = shown_number(measure.value)
    unit = f" {measure.unit}" if measure.unit else ""
    if measure.spread is not None:
        return f"{text}{unit} ({measure.spread[0]:,.0f} to {measure.spread[1]:,.0f})"
    return text + unit


def shown_number(value: float) -> str:
    """Return a number with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def dominant(workload: Workload) -> Flow:
    """Return the flow with the most octets in a second: what loads are made of."""
    return max(workload.flows, key=lambda flow: flow.rate * flow.mean_payload)
