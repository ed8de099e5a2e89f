"""``mqproof forecast``: what traffic will cost in a day and a month, over AMQP, each QoS of MQTT, and HTTP."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from mqproof.harness.cli.failing import fail

if TYPE_CHECKING:
    from mqproof.dissectors.overhead.forecast import Conditions, Way
    from mqproof.harness.workload import Workload

USAGE = 2
TLS = ("1.2", "1.3")
PERIODS = {"month": 1.0, "day": 365.25 / 12, "hour": 24 * 365.25 / 12}


class BadForecast(ValueError):
    """Options that contradict each other; one line that says what to write."""


def forecast(
    workload: Annotated[
        str | None, typer.Option(help="A workload file, or order-processing, dog-gps, home-automation, log-pipeline.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="A capture, or what analyze --json printed about one.")
    ] = None,
    payload: Annotated[int | None, typer.Option(min=0, help="Octets of a message.")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Messages per second of one device.")] = None,
    topic_length: Annotated[int, typer.Option(min=1, max=65535, help="Octets of the topic or routing key.")] = 20,
    properties: Annotated[int, typer.Option(min=0, help="Octets of MQTT 5 properties, or AMQP's with headers.")] = 0,
    devices: Annotated[int | None, typer.Option(min=1, help="How many devices publish.")] = None,
    keep_alive: Annotated[int | None, typer.Option(min=0, max=65535, help="Seconds; 0 for none.")] = None,
    reconnects: Annotated[float | None, typer.Option(min=0, help="Connections that a device makes in a day.")] = None,
    tls: Annotated[str | None, typer.Option(help="1.2 or 1.3; none for no TLS.")] = None,
    resumed: Annotated[float, typer.Option(min=0, max=1, help="Share of connections that resume a TLS session.")] = 0,
    certificates: Annotated[int, typer.Option(min=0, help="Octets of the broker's certificate chain.")] = 2600,
    topic_alias: Annotated[bool, typer.Option("--topic-alias", help="MQTT 5: a number instead of the topic.")] = False,
    ipv6: Annotated[bool, typer.Option("--ipv6", help="IPv6 instead of IPv4.")] = False,
    bill_per_packet: Annotated[int, typer.Option(help="Octets that the operator adds to each packet.")] = 0,
    bill_round_up: Annotated[int, typer.Option(min=1, help="Octets to which each device's use is rounded up.")] = 1,
    bill_period: Annotated[str, typer.Option(help="How often it is rounded up: month, day or hour.")] = "month",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Forecast bytes and packets per day and month of a workload, a capture, or messages as described."""
    from mqproof.dissectors.overhead import forecast as arithmetic
    from mqproof.dissectors.packets.pcap import CaptureError
    from mqproof.harness.workload import BadWorkload, Flow, Workload
    from mqproof.harness.workload_capture import NoTraffic

    try:
        described = None
        if payload is not None or rate is not None:
            if payload is None or rate is None:
                raise BadForecast("--payload and --rate belong together")
            flow = Flow("messages", "x" * topic_length, rate, ((payload, 1.0),), properties=properties)
            described = Workload("Messages as described", (flow,))
        traffic = _traffic(workload, source, described)
        given = arithmetic.Conditions(
            devices=traffic.devices if devices is None else devices,
            keep_alive=traffic.keep_alive if keep_alive is None else keep_alive,
            reconnects_per_day=traffic.reconnects_per_day if reconnects is None else reconnects,
            tls=_tls(tls, traffic.tls), resumed=resumed, certificates=certificates, topic_alias=topic_alias, ipv6=ipv6,
            segment=1428 if ipv6 else 1448, extra_per_packet=bill_per_packet, round_up=bill_round_up,
            periods_per_month=_period(bill_period),
        )  # fmt: skip
    except (BadForecast, BadWorkload, NoTraffic, CaptureError) as error:
        raise typer.Exit(fail(USAGE, error, "mqproof forecast")) from None
    result = _result(traffic, given)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        from mqproof.harness.reporting.forecast_text import print_forecast
        from mqproof.harness.reporting.screen import Screen

        print_forecast(result, Screen())


def _traffic(workload: str | None, source: Path | None, described: "Workload | None") -> "Workload":
    from mqproof.harness.workload import read

    if sum(given is not None for given in (workload, source, described)) != 1:
        raise BadForecast("say what to forecast: --workload, --from, or --payload with --rate")
    if workload is not None:
        return read(workload)
    return described if described is not None else _of_file(source)  # type: ignore[arg-type]


def _of_file(path: Path) -> "Workload":
    """Return the traffic of a capture, or of an account."""
    from mqproof.dissectors.overhead.frames import Follower
    from mqproof.dissectors.packets.pcap import read_packets
    from mqproof.harness.workload_capture import Profile, from_account

    try:
        beginning = path.open("rb").read(1)
    except OSError as error:
        raise BadForecast(f"cannot read {path}: {error.strerror or error}") from None
    if beginning == b"{":
        try:
            return from_account(json.loads(path.read_text(encoding="utf-8")), f"Traffic of {path.name}")
        except (ValueError, KeyError, TypeError) as error:
            if type(error).__name__ == "NoTraffic":
                raise
            raise BadForecast(f"{path} is no account of mqproof analyze --json") from None
    profile = Profile()
    Follower((profile,)).file(read_packets(path), path.name)
    return profile.workload(f"Traffic of {path.name}")


def _tls(wanted: str | None, workload: bool) -> str:
    if wanted is None:
        return "1.3" if workload else ""
    if wanted == "none":
        return ""
    if wanted not in TLS:
        raise BadForecast(f"--tls must be 1.2, 1.3 or none, not {wanted}")
    return wanted


def _period(name: str) -> float:
    if name not in PERIODS:
        raise BadForecast(f"--bill-period must be month, day or hour, not {name}")
    return PERIODS[name]


def _result(traffic: "Workload", given: "Conditions") -> dict[str, Any]:
    """Return the forecast as JSON has it."""
    from dataclasses import asdict

    from mqproof.dissectors.overhead.forecast import MONTH, Traffic
    from mqproof.dissectors.overhead.forecast import forecast as of

    flows = [
        Traffic(
            flow.payload, len(flow.topic_of(given.devices).encode()), flow.rate, flow.properties,
            len(flow.exchange.encode()), flow.qos, flow.subscribers,
        )
        for flow in traffic.flows
    ]  # fmt: skip
    rows = [
        {
            "way": row.name,
            "bytes_per_message": round(row.message.octets, 1),
            "packets_per_message": round(row.message.packets, 2),
            "device_day": {"bytes": round(row.day.octets), "packets": round(row.day.packets)},
            "device_month": {"bytes": round(row.day.octets * MONTH), "packets": round(row.day.packets * MONTH)},
            "consumers_month": {
                "bytes": round(row.consumers.octets * MONTH), "packets": round(row.consumers.packets * MONTH),
            },
            "billed_month": round(row.billed_month),
            "upper_bound": row.cramped,
        }
        for row in of(flows, given, _ways(traffic, given))
    ]  # fmt: skip
    conditions = asdict(given)
    return {"schema": 1, "title": traffic.title, "flows": len(flows), "conditions": conditions, "rows": rows}


def _ways(traffic: "Workload", given: "Conditions") -> "list[Way]":
    from dataclasses import replace

    from mqproof.dissectors.overhead.forecast import WAYS, Way

    ways = [Way("MQTT, QoS as given", "mqtt")] if len({flow.qos for flow in traffic.flows}) > 1 else []
    secure = [replace(way, name=way.name.replace("HTTP ", "HTTPS ")) if given.tls else way for way in WAYS]
    return [*ways, *secure]
