"""``mqproof load``: put load on a broker, and account for every message."""

from pathlib import Path
from typing import Annotated

import typer

HELP = """Put load on brokers, and account for every message.

SCENARIO is welcome-email. TARGET is a URL or a broker to start here: embedded (the default), rabbitmq, mosquitto;
rabbitmq-mqtt and the like choose one protocol. Latencies run from the moment before a message is sent until a
worker has it. Everything that is made on the broker has the prefix and is removed.

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
    users: Annotated[int, typer.Option(help="Users that register.")] = 10,
    duration: Annotated[float, typer.Option(help="Seconds of load.")] = 10.0,
    rate: Annotated[float, typer.Option(help="Registrations of each user per second.")] = 10.0,
    payload: Annotated[int, typer.Option(help="Octets of a message.")] = 256,
    work: Annotated[float, typer.Option(help="Seconds that sending an e-mail takes (simulated).")] = 0.02,
    workers: Annotated[int, typer.Option(help="Workers that take tasks.")] = 10,
    qos: Annotated[int, typer.Option(help="MQTT: QoS.")] = 1,
    confirm: Annotated[bool, typer.Option(help="AMQP: publisher confirms.")] = True,
    prefetch: Annotated[int, typer.Option(help="AMQP: prefetch of each worker.")] = 10,
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
        "qos": qos, "confirm": confirm, "prefetch": prefetch, "prefix": prefix, "insecure": insecure,
        "ca_file": str(ca_file) if ca_file else None,
    }  # fmt: skip
    wishes = Wishes(
        scenario=scenario, targets=targets or ["embedded"], numbers=numbers, json_out=json_out, out=out,
        password_file=password_file, thresholds=Thresholds(max_p99, max_lost, min_rate), is_allowed=yes,
    )  # fmt: skip
    raise typer.Exit(put_load(wishes))


load.__doc__ = HELP
