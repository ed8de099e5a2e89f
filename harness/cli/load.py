"""``mqproof load``: put load on a broker, and account for every message."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

HELP = """Put load on brokers, and account for every message.

TARGET is a URL or a broker to start here: embedded (the default), rabbitmq, mosquitto; rabbitmq-mqtt and the like
choose one protocol. Latencies run from the moment a message was meant to be sent until a consumer has it. Everything
that is made on the broker has the prefix and is removed. SCENARIO makes a claim measurable:

\b
  welcome-email        a queue answers the caller at once
  throughput           how much goes through, every message accounted for
  worker-crash         a crashed worker's task goes to another (AMQP)
  scale-out            add workers, get throughput
  traffic-spike        spikes are absorbed
  log-routing          error, warning and info go to their queues
  exchange-cost        the four exchange types and what they cost (AMQP)
  home-telemetry       thousands of sensors, one dashboard on home/#
  alerts-qos1          at least once (MQTT)
  billing-qos2         exactly once (MQTT)
  fleet-tracker        many devices, rare small messages, keep-alive
  fan-out              one publisher, N subscribers
  connect-storm        everyone comes back at once
  durability-cost      what confirms, persistence and quorum cost
  p2p                  pairs of publisher and subscriber
  shared-subscription  subscribers share the messages of one subscription
  idle-connections     connections held, and what each costs the broker

It may also be a name of the MQTT world's benchmark, such as p2p-1K-1K-1K-1K, fanout-1-1k-1-1K, sharedsub-1K-5-1K-1K or
conn-tcp-10k-100.

\b
Exit codes:
  0    every threshold holds, and so does what the broker promised
  1    a threshold is missed; or the broker lost what it had confirmed and
       nothing explains it (--max-lost N allows N losses), changed messages,
       delivered what was never sent there, or repeated messages at QoS 2
       (--max-duplicated N allows N)
  2    wrong usage, or the broker refuses a queue or exchange of that kind
  3    a target cannot be reached, does not let this user publish or
       subscribe, or is gone before the end; the results so far are written
  4    internal error
  5    nothing was published
  130  interrupted; the results so far are written
"""


TEXTS = ("variable_rate", "sizes", "payload_file", "queue_argument", "message_property")
OTHERS = {
    "scenario", "targets", "scale", "workload", "watch", "master", "worker", "trace", "max_p99", "max_lost",
    "max_duplicated", "min_rate", "json_out", "out", "password_file", "yes", "ca_file", *TEXTS,
}  # fmt: skip


def _parameter(name: str, kind: Any, info: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])


def _option(
    name: str, kind: Any, says: str, default: Any = None, flag: str = "", metavar: str | None = None
) -> inspect.Parameter:
    flags = (flag,) if flag else ()
    return _parameter(name, kind, typer.Option(*flags, help=says, metavar=metavar, show_default=bool(default)), default)


PARAMETERS = [
    _parameter("scenario", str | None, typer.Argument(metavar="[SCENARIO]", show_default=False), None),
    _parameter("targets", list[str] | None, typer.Argument(metavar="[TARGET]...", show_default=False), None),
    _option("users", int | None, "Publishers (welcome-email: users that register)."),
    _option("duration", float | None, "Seconds of load [10]."),
    _option("rate", float | None, "Messages per second, 0 for all it takes (welcome-email: of each user)."),
    _option("variable_rate", str,
            "One rate after the other, instead of --rate.", default="", metavar="RATE:SECONDS,…"),
    _option("ramp", float | None, "Seconds in which the rate grows to its own."),
    _option("payload", int | None, "Octets of a message [256]."),
    _option("sizes", str, "Several sizes in turn, instead of --payload.", default="", metavar="OCTETS,…"),
    _option("payload_file", Path | None, "What fills payloads behind their stamp."),
    _option("work", float | None, "Seconds that a task takes (simulated)."),
    _option("consumer_rate", float | None, "Messages per second that each consumer takes."),
    _option("workers", int | None, "Workers that take tasks, or subscribers."),
    _option("queues", int | None, "Queues, or subscriptions, that share the messages."),
    _option("qos", int | None, "MQTT: QoS [1]."),
    _option("mqtt_version", str, "MQTT: 3.1.1 or 5.0.", default="", metavar="VERSION"),
    _option("shared", bool, "MQTT: workers share one subscription.", default=False, flag="--shared"),
    _option("confirm", bool, "AMQP: publisher confirms.", default=True),
    _option("max_unconfirmed", int | None, "Unconfirmed messages of each publisher at most."),
    _option("prefetch", int | None, "AMQP: prefetch of each worker."),
    _option("multi_ack", int | None, "AMQP: messages that one acknowledgement takes."),
    _option("nack_every", int | None, "AMQP: refuse every so many messages once."),
    _option("requeue", bool, "AMQP: what is refused comes again.", default=True, flag="--requeue/--discard"),
    _option("poll", float | None, "AMQP: basic.get, so many seconds apart when empty."),
    _option("window", int | None, "Messages in flight at most, without --rate."),
    _option("persistent", bool, "AMQP: persistent messages.", default=False, flag="--persistent"),
    _option("queue_type", str, "AMQP: x-queue-type, such as quorum.", default=""),
    _option("queue_argument", list[str] | None, "AMQP: of queues (repeatable).", metavar="KEY=VALUE"),
    _option("exchange", str, "AMQP: through an exchange of this type.", default="", metavar="TYPE"),
    _option("message_property", list[str] | None,
            "AMQP: of messages (repeatable).", flag="--property", metavar="KEY=VALUE"),
    _option("keep_alive", int | None, "Seconds (AMQP: heartbeat) [none]."),
    _option("connect_rate", float | None, "Connections per second while they are opened."),
    _option("scale", float, "A benchmark name's clients and rates, times this.", default=1.0),
    _option("workload", str, "Run a workload (a file or a name).", default="", metavar="FILE"),
    _option("watch", bool,
            "Light, steady load until Ctrl-C: who could not work, and for how long?", default=False, flag="--watch"),
    _option("processes", int | None, "Worker processes here [1]."),
    _option("master", bool, "Lead workers on other machines.", default=False, flag="--master"),
    _option("worker", bool, "Be led by a master elsewhere.", default=False, flag="--worker"),
    _option("master_host", str, "Where the master is.", default="127.0.0.1"),
    _option("master_port", int, "The master's port.", default=5557),
    _option("expect_workers", int, "How many workers the master waits for.", default=1),
    _option("web_port", int, "Serve Locust's web UI there, and start from it.", default=0),
    _option("metrics_port", int, "Serve metrics for Prometheus there.", default=0),
    _option("stats_url", str,
            "The broker's own: RabbitMQ management, or Prometheus text.", default="", metavar="URL"),
    _option("trace", bool, "Write every arrival and every message's fate.", default=False, flag="--trace"),
    _option("max_p99", str, "Highest p99 end to end, such as 20ms.", default="", metavar="TIME"),
    _option("max_lost", int | None, "How many messages may be lost [confirmed ones: none]."),
    _option("max_duplicated", int | None, "How many may come more than once [at QoS 2: none]."),
    _option("min_rate", float | None, "Lowest delivery rate per second."),
    _option("json_out", str, "Write the result there; - prints it.", default="", flag="--json", metavar="OUT"),
    _option("out", Path | None, "The run directory.", metavar="DIR"),
    _option("prefix", str, "Prefix of every name made on the broker.", default="mqproof"),
    _option("ca_file", Path | None, "Authorities that verify the broker (TLS)."),
    _option("insecure", bool, "Do not verify the broker's certificate.", default=False, flag="--insecure"),
    _option("password_file", Path | None, "File whose first line is the password."),
    _option("yes", bool,
            "Allow heavy load on a broker that is not local.", default=False, flag="--yes-load-this-broker"),
]  # fmt: skip


def load(**given: Any) -> None:
    """Put load on brokers."""  # replaced by HELP
    from mqproof.harness.cli.load_wishes import Texts, Wishes
    from mqproof.harness.cli.loading import put_load
    from mqproof.harness.thresholds import Thresholds

    numbers = {name: value for name, value in given.items() if name not in OTHERS}
    numbers["ca_file"] = str(given["ca_file"]) if given["ca_file"] else None
    numbers["role"] = "master" if given["master"] else "worker" if given["worker"] else "local"
    bounds: Any = (given[name] for name in ("max_p99", "max_lost", "min_rate", "max_duplicated"))
    wishes = Wishes(
        scenario=given["scenario"], targets=given["targets"] or [], numbers=numbers,
        texts=Texts(*(given[name] for name in TEXTS)),
        json_out=given["json_out"], out=given["out"], password_file=given["password_file"],
        thresholds=Thresholds(*bounds), is_allowed=given["yes"], scale=given["scale"], workload=given["workload"],
        is_watch=given["watch"], is_trace=given["trace"], is_both=given["master"] and given["worker"],
    )  # fmt: skip
    raise typer.Exit(put_load(wishes))


# What typer reads instead of a parameter list of seventy lines.
load.__doc__ = HELP
load.__signature__ = inspect.Signature(PARAMETERS)  # type: ignore[attr-defined]
load.__annotations__ = {parameter.name: parameter.annotation for parameter in PARAMETERS}
