"""``mqproof test``: judge brokers."""

# ruff: noqa: PT028 - a command called test is no test

from pathlib import Path
from typing import Annotated

import typer

HELP = """Judge brokers: a verdict for each normative statement that the suites examine.

TARGET is a URL (amqp://user:password@host:5672/vhost, amqps://, mqtt://, mqtts://, ws://host:port/path, wss://) or a
broker to start here: embedded (the default), rabbitmq, mosquitto, amqtt. Passwords may also come from MQPROOF_PASSWORD
or --password-file.

\b
Exit codes:
  0    every statement conforms, or is known to deviate
  1    deviations
  2    wrong usage or configuration
  3    a target cannot be reached or examined
  4    internal error: the run is not complete
  5    nothing was judged, or nothing deviates but results are inconclusive
  130  interrupted; run.json says what there is
"""


def test(
    targets: Annotated[list[str] | None, typer.Argument(metavar="TARGET", show_default=False)] = None,
    suite: Annotated[list[str] | None, typer.Option(help="Only the suite amqp, mqtt or recovery (repeatable).")] = None,
    statement: Annotated[list[str] | None, typer.Option(help="Only tests of this statement (repeatable).")] = None,
    level: Annotated[list[str] | None, typer.Option(help="Only MUST, SHOULD, MAY or documented (repeatable).")] = None,
    section: Annotated[list[str] | None, typer.Option(help="Only sections with this text (repeatable).")] = None,
    keyword: Annotated[str, typer.Option("-k", metavar="EXPR", help="Only tests that match, as in pytest.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Only MUST and MUST NOT, and no waiting on time.")] = False,
    shuffle: Annotated[
        int | None, typer.Option(metavar="SEED", min=0, help="Run the tests in random order.", show_default=False)
    ] = None,
    examples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Random topologies to try.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random examples.")] = 1,
    record: Annotated[bool, typer.Option("--record", help="Capture the packets.")] = False,
    evidence: Annotated[
        str, typer.Option(metavar="failed|all", help="Which tests keep their conversations.")
    ] = "failed",
    json_out: Annotated[str, typer.Option("--json", metavar="OUT", help="Write run.json there; - prints it.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run directory.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(help="Worker processes; 0: as many as cores.", min=0)] = 0,
    patience: Annotated[float, typer.Option(help="Factor for every deadline.")] = 1.0,
    prefix: Annotated[str, typer.Option(help="Prefix of every name made on the broker.")] = "",
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that verify the broker (TLS).")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the broker's certificate.")] = False,
    password_file: Annotated[Path | None, typer.Option(help="File whose first line is the password.")] = None,
    destructive: Annotated[bool, typer.Option("--destructive", help="Also what disturbs others.")] = False,
    fail_on: Annotated[str, typer.Option(metavar="must|should", help="Weakest level that fails the run.")] = "must",
) -> None:
    """Judge brokers."""  # replaced by HELP
    from mqproof.harness.cli.judging import Wishes, judge_brokers

    wishes = Wishes(
        targets=targets or ["embedded"], suites=suite or [], statements=statement or [], levels=level or [],
        sections=section or [], keyword=keyword, quick=quick, shuffle=shuffle, examples=examples, seed=seed,
        record=record, evidence=evidence, json_out=json_out, out=out, workers=workers, patience=patience, prefix=prefix,
        ca_file=ca_file, insecure=insecure, password_file=password_file, destructive=destructive, fail_on=fail_on,
    )  # fmt: skip
    raise typer.Exit(judge_brokers(wishes))


test.__doc__ = HELP
test.__test__ = False  # type: ignore[attr-defined]
