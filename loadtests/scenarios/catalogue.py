"""The scenarios: each makes one claim about message queues measurable, as stages for the engine.

``welcome-email`` stands apart: it compares what callers feel, with real client libraries (see its module).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mqproof.loadtests.book import Book
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.scenarios import figures
from mqproof.loadtests.scenarios import workload as workloads
from mqproof.loadtests.scenarios.figures import Figure
from mqproof.loadtests.scenarios.refusals import refuse_contradictions
from mqproof.loadtests.settings import WELCOME_EMAIL, BadSettings, Settings

HEADERS = (("headers", 0), ("headers", 100))  # a headers exchange looks at every binding
BINDINGS = (0, 1000, 10_000)  # the last only in a run of LONG seconds: they take a while to make
LONG = 5.0
# In flight. MQTT brokers drop what a subscriber's short queue has no room for; and Mosquitto 2.0.11 forgets QoS 2
# messages beyond its window of 20 when many PUBREL come at once, with any client.
BOLD, CAREFUL = 20_000, {0: 20_000, 1: 800, 2: 16}
BOTH = ("amqp", "mqtt")
Stages = Callable[[Settings], list[Traffic]]
Figures = Callable[[list[dict[str, Any]], Book], list[Figure]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """``claim``: what is made measurable. ``defaults``: of settings, where the user says nothing.

    ``figures``: what it shows beyond rates, latencies and the ledger.
    """

    claim: str
    stages: Stages
    protocols: tuple[str, ...] = BOTH
    defaults: dict[str, Any] = field(default_factory=dict)
    figures: Figures = figures.none


def base(settings: Settings, label: str, share: float = 1.0) -> Traffic:
    """Return the traffic that the settings describe; ``share``: of the duration."""
    is_amqp = settings.target.protocol == "amqp"
    careful = max((most for qos, most in CAREFUL.items() if qos >= settings.qos), default=BOLD)
    return Traffic(
        label,
        publishers=settings.users, rate=settings.rate, payload=settings.payload, qos=settings.qos,
        confirm=settings.confirm, prefetch=settings.prefetch, persistent=settings.persistent,
        queue_type=settings.queue_type, durable=settings.persistent or settings.queue_type in ("quorum", "stream"),
        duration=settings.duration * share, work=settings.work or _pace(settings),
        window=settings.window or (BOLD if is_amqp else careful),
        schedule=tuple((seconds * share, rate) for seconds, rate in settings.schedule),
        sizes=tuple(settings.sizes), template=settings.filling, properties=settings.properties,
        queue_arguments=settings.queue_arguments, exchange=settings.exchange, ramp=settings.ramp * share,
        connect_rate=settings.connect_rate, max_unconfirmed=settings.max_unconfirmed, ack_every=settings.multi_ack,
        nack_every=settings.nack_every, requeue=settings.requeue, poll=settings.poll, keep_alive=settings.keep_alive,
        mqtt_version=settings.mqtt_version,
    )  # fmt: skip


def _pace(settings: Settings) -> float:
    return 1 / settings.consumer_rate if settings.consumer_rate else 0.0


def workers_of(settings: Settings, traffic: Traffic, workers: int) -> Traffic:
    """Return the traffic with so many workers on one task list; MQTT 3.1.1 deals the tasks out by topic."""
    if settings.target.protocol == "amqp" or settings.shared:
        return traffic.with_(consumers=workers)
    return traffic.with_(routes=workers, pattern="split", publishers=max(traffic.publishers, workers))


def throughput(settings: Settings) -> list[Traffic]:
    """As much as goes through, or as much as --rate says."""
    traffic = base(settings, "throughput")
    if settings.queues == 1:
        return [workers_of(settings, traffic, settings.workers)]
    return [traffic.with_(routes=settings.queues, pattern="split", publishers=max(settings.queues, settings.users))]


def worker_crash(settings: Settings) -> list[Traffic]:
    """One of the workers is cut off without a word, again and again, in mid-task."""
    traffic = base(settings, "workers crash").with_(consumers=settings.workers, crash=max(0.5, settings.duration / 5))
    return [traffic]


def scale_out(settings: Settings) -> list[Traffic]:
    """1, 2, 4 and 8 workers, each busy with its task for a while."""
    counts = (1, 2, 4, 8)
    stages = []
    for workers in counts:
        label = f"{workers} worker{'s' if workers > 1 else ''}"
        traffic = base(settings, label, 1 / len(counts)).with_(window=settings.window or 200)
        stages.append(workers_of(settings, traffic, workers))
    return stages


def traffic_spike(settings: Settings) -> list[Traffic]:
    """Ten times the rate for a fifth of the time; workers that keep up with three times the ordinary one."""
    ordinary, fifth = settings.rate, settings.duration / 5
    schedule = ((2 * fifth, ordinary), (fifth, 10 * ordinary), (2 * fifth, ordinary))
    traffic = base(settings, "spike").with_(schedule=schedule)
    return [workers_of(settings, traffic, max(1, round(3 * ordinary * settings.work)) if settings.work else 1)]


def log_routing(settings: Settings) -> list[Traffic]:
    """Error, warning and info, each to its own queue (MQTT: topic) and nowhere else."""
    names = ("error", "warning", "info")
    traffic = base(settings, "log routing").with_(
        routes=3, pattern="split", exchange="direct", route_names=names, publishers=max(3, settings.users)
    )
    return [traffic]


def exchange_cost(settings: Settings) -> list[Traffic]:
    """The exchange types, with few and with many bindings that match nothing."""
    counts = BINDINGS if settings.duration >= LONG else BINDINGS[:2]
    kinds = [("fanout", 0), *((kind, more) for kind in ("direct", "topic") for more in counts), *HEADERS]
    share = 1 / len(kinds)
    return [
        base(settings, f"{kind}, {more + 1} binding{'s' if more else ''}", share).with_(exchange=kind, bindings=more)
        for kind, more in kinds
    ]


def home_telemetry(settings: Settings) -> list[Traffic]:
    """Many sensors, each with a topic of its own, and one dashboard that sees all of it."""
    exchange = "topic" if settings.target.protocol == "amqp" else ""
    return [base(settings, "fan-in").with_(topic="home/", exchange=exchange)]


def fan_out(settings: Settings) -> list[Traffic]:
    """One publisher, a copy for each of many subscribers."""
    traffic = base(settings, "fan-out").with_(publishers=1, routes=settings.workers, pattern="fan", exchange="fanout")
    return [traffic.with_(window=max(100, traffic.window // settings.workers))]


def alerts(settings: Settings) -> list[Traffic]:
    """At least once, while the publishers' connections end again and again."""
    return [base(settings, "reconnecting").with_(qos=1, reconnect=max(0.4, settings.duration / 6))]


def billing(settings: Settings) -> list[Traffic]:
    """Exactly once, while the publishers' connections end again and again."""
    return [base(settings, "reconnecting").with_(qos=2, reconnect=max(0.4, settings.duration / 6))]


def durability_cost(settings: Settings) -> list[Traffic]:
    """What each guarantee takes away from the throughput."""
    if settings.target.protocol == "mqtt":
        windows = {qos: settings.window or window for qos, window in CAREFUL.items() if qos <= settings.max_qos}
        share = 1 / len(windows)
        return [base(settings, f"QoS {qos}", share).with_(qos=qos, window=window) for qos, window in windows.items()]
    kept: dict[str, Any] = {"persistent": True, "durable": True}
    guarantees: dict[str, dict[str, Any]] = {
        "nothing": {"confirm": False}, "confirms": {}, "confirms, persistent": kept,
        "confirms, quorum queue": {**kept, "queue_type": "quorum"},
    }  # fmt: skip
    if "rabbitmq" not in settings.product.lower():
        del guarantees["confirms, quorum queue"]
    nothing = {"confirm": True, "persistent": False, "durable": False, "queue_type": ""}  # what the settings say apart
    return [base(settings, label, 1 / 4).with_(**nothing | guarantee) for label, guarantee in guarantees.items()]


def fleet_tracker(settings: Settings) -> list[Traffic]:
    """Many devices that keep their connection alive and say little."""
    traffic = base(settings, "devices").with_(fleet="hold", confirm=False, topic="fleet/")
    return [traffic.with_(keep_alive=settings.keep_alive or max(1, round(settings.duration / 4)))]


def idle_connections(settings: Settings) -> list[Traffic]:
    """Connections that are held and say nothing until the end, when each proves that it still works."""
    traffic = base(settings, "idle").with_(fleet="hold", confirm=False, rate=0.0, topic="idle/")
    return [traffic.with_(keep_alive=settings.keep_alive or 300)]


def connect_storm(settings: Settings) -> list[Traffic]:
    """Everyone's connection ends at the same moment, and everyone comes back at once, again and again."""
    return [base(settings, "storms").with_(fleet="storm", confirm=False, rate=0.0, topic="storm/")]


def p2p(settings: Settings) -> list[Traffic]:
    """Pairs of one publisher and one subscriber."""
    return [base(settings, "pairs").with_(routes=settings.users, pattern="split", topic="p2p/")]


def shared_subscription(settings: Settings) -> list[Traffic]:
    """Subscribers that share one subscription (AMQP: one queue)."""
    return [base(settings, "shared").with_(consumers=settings.workers)]


def watch(settings: Settings) -> list[Traffic]:
    """Light, steady, durable traffic, while somebody upgrades the broker or lets it fail over."""
    return [base(settings, "watch").with_(
        durable=True, persistent=True, sessions=True, patience=PATIENCE, keep_alive=settings.keep_alive or 10,
    )]  # fmt: skip


def workload(settings: Settings) -> list[Traffic]:
    """Everything that a workload file describes, at the same time."""
    return workloads.stages(settings, base(settings, "workload"))


WATCH, WORKLOAD = "watch", "workload"
PATIENCE = 5.0  # seconds without an answer, after which a watching client connects anew
LITTLE = {"users": 200, "rate": 20.0, "payload": 64, "qos": 0}
SCENARIOS: dict[str, Scenario] = {
    "throughput": Scenario("how much goes through, every message accounted for", throughput,
                           defaults={"users": 2, "workers": 1}),
    "worker-crash": Scenario("a crashed worker's task goes to another", worker_crash, ("amqp",),
                             {"users": 2, "rate": 200.0, "workers": 4, "work": 0.005, "prefetch": 10},
                             figures.takeover),
    "scale-out": Scenario("add workers, get throughput", scale_out, BOTH,
                          {"users": 2, "work": 0.005, "prefetch": 10}, figures.efficiency),
    "traffic-spike": Scenario("spikes are absorbed", traffic_spike, BOTH,
                              {"users": 2, "rate": 100.0, "work": 0.005, "prefetch": 10}, figures.spike),
    "log-routing": Scenario("error, warning and info go to their queues", log_routing, BOTH, {"users": 3},
                            figures.routing),
    "exchange-cost": Scenario("the four exchange types and what they cost", exchange_cost, ("amqp",), {"users": 1},
                              figures.side_by_side),
    "home-telemetry": Scenario("thousands of sensors, one dashboard on home/#", home_telemetry, BOTH,
                               {"users": 100, "rate": 2000.0, "payload": 64, "qos": 0}, figures.fan_in),
    "alerts-qos1": Scenario("at least once", alerts, ("mqtt",), {"users": 4, "rate": 500.0}, figures.duplicates),
    "billing-qos2": Scenario("exactly once", billing, ("mqtt",), {"users": 4, "rate": 500.0}, figures.duplicates),
    "fleet-tracker": Scenario("many devices, rare small messages, keep-alive", fleet_tracker, BOTH, LITTLE,
                              figures.fleet),
    "fan-out": Scenario("one publisher, N subscribers", fan_out, BOTH, {"workers": 10, "payload": 64, "qos": 0},
                        figures.spread),
    "connect-storm": Scenario("everyone comes back at once", connect_storm, BOTH, LITTLE, figures.storm),
    "durability-cost": Scenario("what confirms, persistence and quorum cost", durability_cost, BOTH, {"users": 2},
                                figures.side_by_side),
    "p2p": Scenario("pairs of publisher and subscriber", p2p, BOTH, {"users": 50, "rate": 50.0, "payload": 64}),
    "shared-subscription": Scenario("subscribers share the messages of one subscription", shared_subscription, BOTH,
                                    {"users": 10, "workers": 5, "payload": 64}),
    "idle-connections": Scenario("connections held, and what each costs the broker", idle_connections, BOTH, LITTLE,
                                 figures.fleet),
}
OWN_OPTIONS: dict[str, Scenario] = {
    WATCH: Scenario("what clients feel while the broker is upgraded", watch, BOTH,
                    {"users": 2, "rate": 20.0, "payload": 64, "qos": 1}),
    WORKLOAD: Scenario("a workload as it was recorded or written down", workload, BOTH, {"users": 1}),
}  # fmt: skip
WELCOME = {"users": 10, "rate": 10.0, "work": 0.02, "workers": 10, "prefetch": 10}
ENGINE_DEFAULTS: dict[str, Any] = {"rate": 0.0, "work": 0.0, "workers": 1, "prefetch": 1000, "users": 2}


def names() -> list[str]:
    """Return the names of all scenarios."""
    return [WELCOME_EMAIL, *SCENARIOS]


def scenario_of(name: str) -> Scenario:
    """Return the scenario of this name, also one that has an option of its own."""
    return OWN_OPTIONS[name] if name in OWN_OPTIONS else SCENARIOS[name]


def with_defaults(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a scenario has where the user says nothing (None)."""
    defaults = WELCOME if name == WELCOME_EMAIL else ENGINE_DEFAULTS | scenario_of(name).defaults
    if given.get("consumer_rate"):
        defaults = defaults | {"work": 0.0}  # two ways to say how fast a consumer is
    return defaults | {key: value for key, value in given.items() if value is not None}


def stages_of(settings: Settings) -> list[Traffic]:
    """Return what a scenario does on a target. Raises BadSettings where its protocol cannot do it."""
    scenario = scenario_of(settings.scenario)
    protocol = settings.target.protocol
    if protocol not in scenario.protocols:
        raise BadSettings(f"{settings.scenario} is a scenario for {', '.join(scenario.protocols)}, not for {protocol}")
    refuse_contradictions(settings)
    stages = scenario.stages(settings)
    if protocol == "mqtt" and (qos := max(stage.qos for stage in stages)) > settings.max_qos:
        raise BadSettings(f"QoS {qos}: the broker grants QoS {settings.max_qos} at most")
    return stages


def figures_of(name: str, results: list[dict[str, Any]], total: Book) -> list[Figure]:
    """Return what a scenario shows."""
    return scenario_of(name).figures(results, total)
