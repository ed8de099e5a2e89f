"""``mqproof crash``: brokers that mqproof starts are killed, stopped, cut off and filled under load."""

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.written import say, say_json

if TYPE_CHECKING:
    from mqproof.harness.crash.rounds import Outcome
    from mqproof.harness.targets.target import Target

HELP = """Disturb brokers under load, and account for every message afterwards.

TARGET is a broker to start here: rabbitmq-amqp, mosquitto, embedded-amqp, embedded-mqtt (the default: rabbitmq-amqp
and mosquitto). Each round does everything once: kill -9, SIGSTOP, every connection cut, a partition, a full queue, and
for MQTT a restart at each step of QoS 2's handshake. Brokers are disturbed side by side.

\b
Exit codes:
  0    every promise was kept, or is known not to be
  1    deviations
  2    wrong usage
  3    a broker is not installed or does not start
  5    nothing deviates, but some rounds are inconclusive
  130  interrupted
"""
DEFAULT = ["rabbitmq-amqp", "mosquitto-mqtt"]


def crash(
    targets: Annotated[list[str] | None, typer.Argument(metavar="TARGET", show_default=False)] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is done.")] = 1,
    disruption: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this (repeatable).")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run directory.", show_default=False)] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write docs/crash-recovery.md.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the disruptions and their numbers as JSON.")] = False,
) -> None:
    """Disturb brokers under load."""  # replaced by HELP
    from mqproof.harness.cli.exits import CONFORMS, DEVIATES, INTERRUPTED, NOTHING, UNREACHABLE, USAGE
    from mqproof.harness.crash.report import page, plain, save
    from mqproof.harness.run import Run, new_folder
    from mqproof.harness.targets.errors import TargetError
    from mqproof.harness.targets.target import BadTarget
    from mqproof.harness.verdicts import Verdict

    run = Run()
    try:
        plans = [part for word in targets or DEFAULT for part in _parts(*_plan(word, disruption or []))]
        done, complete = _side_by_side(plans, rounds, quiet=as_json)
    except BadTarget as error:
        raise typer.Exit(fail(USAGE, error)) from None
    except TargetError as error:
        raise typer.Exit(fail(UNREACHABLE, error)) from None
    outcomes = [outcome for _, found in done for outcome in found]
    folder = out or new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    save(folder, run, [target for target, _ in done], outcomes, complete=complete)
    if markdown:
        versions = {target.driver or "": f"{target.product} {target.version}" for target, _ in done}
        markdown.write_text(page(outcomes, versions), encoding="utf-8")
    verdicts = {outcome.verdict for outcome in outcomes}
    if as_json:
        say_json({"folder": str(folder), "complete": complete, "disruptions": [plain(each) for each in outcomes]})
    else:
        typer.echo(f"{len(outcomes)} disruptions; the numbers are in {folder}")
    if not complete:
        raise typer.Exit(INTERRUPTED)
    code = DEVIATES if Verdict.DEVIATES in verdicts else NOTHING if Verdict.INCONCLUSIVE in verdicts else CONFORMS
    raise typer.Exit(code)


crash.__doc__ = HELP


def _plan(word: str, names: list[str]) -> tuple[str, str, list[str]]:
    """Return driver, protocol and what to do. Raises BadTarget."""
    from mqproof.harness.crash.rounds import disruptions
    from mqproof.harness.targets.opening import plan
    from mqproof.harness.targets.target import BadTarget, Target

    planned = plan(word)
    if isinstance(planned, Target):
        raise BadTarget(f"{planned.redacted_url} is not ours to kill: name a broker to start, such as {DEFAULT[0]}")
    driver, protocols = planned
    if len(protocols) != 1:
        raise BadTarget(f"{word} speaks {' and '.join(protocols)}: write {word}-{protocols[0]}")
    known = disruptions(driver.name, protocols[0])
    for name in names:
        if name not in known:
            raise BadTarget(f"--disruption {name}: {word} has {'; '.join(known)}")
    return driver.name, protocols[0], names or known


def _parts(driver: str, protocol: str, names: list[str]) -> list[tuple[str, str, list[str]]]:
    """Share the work out between two brokers: one for the loads, one for the restarts in mid-handshake."""
    from mqproof.harness.crash.disruptions import DISRUPTIONS

    under_load = [name for name in names if name in DISRUPTIONS]
    in_handshake = [name for name in names if name not in DISRUPTIONS]
    return [(driver, protocol, part) for part in (under_load, in_handshake) if part]


def _side_by_side(
    plans: list[tuple[str, str, list[str]]], rounds: int, *, quiet: bool
) -> "tuple[list[tuple[Target, list[Outcome]]], bool]":
    """Return what came of each plan, and whether nobody interrupted; then what is under way is brought to its end."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(plans)) as pool:
        work = [pool.submit(_rounds, driver, protocol, names, rounds, stop, quiet) for driver, protocol, names in plans]
        try:
            wait(work, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            typer.echo("interrupted: ending what is under way", err=True)
            stop.set()
        if any(each.done() and each.exception() for each in work):
            stop.set()
    return [each.result() for each in work], not stop.is_set()


def _rounds(
    driver: str, protocol: str, names: list[str], rounds: int, stop: threading.Event, quiet: bool
) -> "tuple[Target, list[Outcome]]":
    from mqproof.harness.crash.report import line
    from mqproof.harness.crash.rounds import crash_broker, disturb

    outcomes: list[Outcome] = []
    planned = iter([*names] * rounds)
    while True:  # a broker that does not start again is replaced by another one
        with crash_broker(driver, protocol) as (broker, target):
            for name in planned:
                if stop.is_set():
                    return target, outcomes
                outcomes.append(disturb(broker, target, name))
                if not quiet:
                    say(line(outcomes[-1]))
                if outcomes[-1].is_broker_lost:
                    break
            else:
                return target, outcomes
