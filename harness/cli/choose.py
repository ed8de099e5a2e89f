"""``mqproof choose``: which of two brokers, for a workload, by measurements."""

from pathlib import Path
from typing import Annotated

import typer

HELP = """Measure two brokers on a workload, and recommend one; every sentence refers to a measured number.

TARGET is a local broker (rabbitmq, rabbitmq-mqtt, mosquitto, embedded), started afresh for each workload, or a URL;
of a URL's broker memory and CPU are not known. A workload is a file (TOML) or a name: order-processing, dog-gps,
home-automation, log-pipeline. Writes verdict.md, verdict.html and verdict.json.

\b
Exit codes:
  0    done
  2    wrong usage, or no such workload
  3    a target cannot be reached
  4    internal error
  130  interrupted
"""


def choose(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET_A TARGET_B")],
    workload: Annotated[list[str], typer.Option(metavar="FILE|NAME", help="Repeatable.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Where to write.")] = None,
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="Verdicts of both; else they are judged.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each of the four loads.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print verdict.json.")] = False,
) -> None:
    """Choose."""  # replaced by HELP
    from mqproof.harness.cli.choosing import Wishes, measure_and_choose

    raise typer.Exit(measure_and_choose(Wishes(targets, workload, out, run, seconds, as_json)))


choose.__doc__ = HELP
