"""``mqproof load``: put load on a broker, and account for every message."""

from pathlib import Path
from typing import Annotated

import typer

HELP = """Put load on brokers, and account for every message.

SCENARIO is welcome-email, throughput, worker-crash, scale-out, traffic-spike, log-routing, exchange-cost,
home-telemetry, alerts-qos1, billing-qos2, fan-out or durability-cost. TARGET is a URL or a broker to start here:
embedded (the default), rabbitmq, mosquitto, amqtt; rabbitmq-mqtt and the like choose one protocol. Latencies run from
the moment a message was meant to be sent until a consumer has it. Everything that is made on the broker has the prefix
and is removed.

\b
Exit codes:
  0    every threshold holds
  1    a threshold is missed
  2    wrong usage
  3    a target cannot be reached
  4    internal error
  5    nothing was published
  130  interrupted; the results so far are written
"""


def load(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO")],
    targets: Annotated[list[str] | None, typer.Argument(metavar="TARGET", show_default=False)] = None,
    users: Annotated[int | None, typer.Option(help="Publishers (welcome-email: users that register).")] = None,
    duration: Annotated[float, typer.Option(help="Seconds of load.")] = 10.0,
    rate: Annotated[
        float | None, typer.Option(help="Messages per second, 0 for all it takes (welcome-email: of each user).")
    ] = None,
    payload: Annotated[int | None, typer.Option(help="Octets of a message [256].")] = None,
    work: Annotated[float | None, typer.Option(help="Seconds that a task takes (simulated).")] = None,
    workers: Annotated[int | None, typer.Option(help="Workers that take tasks, or subscribers.")] = None,
    queues: Annotated[int | None, typer.Option(help="Queues, or subscriptions, that share the messages.")] = None,
    qos: Annotated[int | None, typer.Option(help="MQTT: QoS [1].")] = None,
    confirm: Annotated[bool, typer.Option(help="AMQP: publisher confirms.")] = True,
    prefetch: Annotated[int | None, typer.Option(help="AMQP: prefetch of each worker.")] = None,
    window: Annotated[int | None, typer.Option(help="Messages in flight at most, without --rate.")] = None,
    persistent: Annotated[bool, typer.Option("--persistent", help="AMQP: persistent messages.")] = False,
    queue_type: Annotated[str, typer.Option(help="AMQP: x-queue-type, such as quorum.")] = "",
    max_p99: Annotated[str, typer.Option(metavar="TIME", help="Highest p99 end to end, such as 20ms.")] = "",
    max_lost: Annotated[int | None, typer.Option(help="How many messages may be lost.", show_default=False)] = None,
    min_rate: Annotated[float | None, typer.Option(help="Lowest delivery rate per second.", show_default=False)] = None,
    json_out: Annotated[str, typer.Option("--json", metavar="OUT", help="Write the result there; - prints it.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run directory.", show_default=False)] = None,
    prefix: Annotated[str, typer.Option(help="Prefix of every name made on the broker.")] = "mqproof",
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that verify the broker (TLS).")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the broker's certificate.")] = False,
    password_file: Annotated[Path | None, typer.Option(help="File whose first line is the password.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes-load-this-broker", help="Allow heavy load on a broker that is not local.")
    ] = False,
) -> None:
    """Put load on brokers."""  # replaced by HELP
    from mqproof.harness.cli.loading import Wishes, put_load
    from mqproof.harness.thresholds import Thresholds

    numbers = {
        "users": users, "duration": duration, "rate": rate, "payload": payload, "work": work, "workers": workers,
        "qos": qos, "confirm": confirm, "prefetch": prefetch, "prefix": prefix, "queues": queues, "window": window,
        "persistent": persistent, "queue_type": queue_type, "insecure": insecure,
        "ca_file": str(ca_file) if ca_file else None,
    }  # fmt: skip
    wishes = Wishes(
        scenario=scenario, targets=targets or ["embedded"], numbers=numbers, json_out=json_out, out=out,
        password_file=password_file, thresholds=Thresholds(max_p99, max_lost, min_rate), is_allowed=yes,
    )  # fmt: skip
    raise typer.Exit(put_load(wishes))


load.__doc__ = HELP
