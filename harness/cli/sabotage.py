"""``mqproof sabotage``: stands between an application and its broker, and lets go wrong what may go wrong."""

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.written import say, say_json
from mqproof.harness.printable import counted

if TYPE_CHECKING:
    from mqproof.harness.chaos.decisions import Event, Replay
    from mqproof.harness.chaos.saboteur import Saboteur
    from mqproof.harness.chaos.scenario import Scenario
    from mqproof.harness.targets.target import Target

HELP = """Stand between an application and its broker, and break what the application relies on.

TARGET is the broker's URL, or a broker to start here (embedded-amqp, embedded-mqtt, rabbitmq, mosquitto). The
application connects to the port of --listen instead. Faults come by --fault (repeatable), or in phases from a TOML
file by --scenario. Every decision follows from --seed and from the message's place on its queue or topic, so the same
messages meet the same faults again; --repeat RUN takes the decisions of an earlier run from its transcript.

\b
  mqproof sabotage amqp://localhost --listen 5673 \\
      --fault duplicate-delivery --probability 0.05 --only queue=orders
  mqproof sabotage mqtt://localhost --listen 1884 \\
      --fault latency:delay=200ms,jitter=50ms --after 30s
  mqproof sabotage --list

\b
Exit codes:
  0  ended (also by Ctrl-C)
  2  wrong usage, or the port is taken
  3  the broker cannot be reached
"""


def sabotage(
    target: Annotated[str, typer.Argument(metavar="TARGET", show_default=False)] = "",
    listen: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port on loopback; 0 takes a free one.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:OPTION=VALUE,…]", help="One of --list, with its options (repeatable)."),
    ] = None,
    probability: Annotated[float, typer.Option(help="Of each message to meet a fault.")] = 1.0,
    seed: Annotated[int, typer.Option(help="What every decision follows from.")] = 0,
    after: Annotated[str, typer.Option(metavar="TIME", help="When the faults begin.")] = "0s",
    only: Annotated[
        str, typer.Option(metavar="FILTER", help="queue=, exchange=, key=, topic=, direction=, client=.")
    ] = "",
    scenario: Annotated[Path | None, typer.Option(metavar="FILE", help="Faults in phases.")] = None,
    repeat: Annotated[Path | None, typer.Option(metavar="RUN", help="A run directory to repeat exactly.")] = None,
    end_after: Annotated[str, typer.Option("--for", metavar="TIME", help="When to end; else by Ctrl-C.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run directory.", show_default=False)] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the faults.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: an object on each line, --list in one.")] = False,
    ca_file: Annotated[Path | None, typer.Option(help="Authorities that verify the broker (TLS).")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify the broker's certificate.")] = False,
) -> None:
    """Stand between an application and its broker."""  # replaced by HELP
    from mqproof.harness.chaos.scenario import BadScenario, seconds
    from mqproof.harness.cli.exits import UNREACHABLE, USAGE
    from mqproof.harness.targets.errors import TargetError
    from mqproof.harness.targets.opening import plan
    from mqproof.harness.targets.target import BadTarget, Tls

    if list_them:
        _list(as_json)
        return
    tell = Teller(as_json)
    tls = Tls(ca_file, insecure) if ca_file or insecure else None
    try:
        if not target:
            raise BadTarget("TARGET is missing: the broker's URL, such as amqp://localhost")
        protocol = _protocol(target, plan(target))
        wanted = _scenario(protocol, fault or [], scenario, repeat, (probability, seed, after, only))
        _stand(target, tls, wanted, listen, seconds(end_after, "--for") if end_after else None, out, repeat, tell)
    except (BadTarget, BadScenario, OSError) as error:
        raise typer.Exit(fail(USAGE, error)) from None
    except TargetError as error:
        raise typer.Exit(fail(UNREACHABLE, error)) from None


sabotage.__doc__ = HELP


def _protocol(word: str, planned: object) -> str:
    from mqproof.harness.targets.target import BadTarget, Target

    if isinstance(planned, Target):
        return planned.protocol
    assert isinstance(planned, tuple)
    protocols: tuple[str, ...] = planned[1]
    if len(protocols) != 1 and word != "rabbitmq":
        raise BadTarget(f"{word} speaks {' and '.join(protocols)}: write {word}-{protocols[0]}")
    return protocols[0]


def _scenario(
    protocol: str, faults: list[str], file: Path | None, repeat: Path | None, common: tuple[float, int, str, str]
) -> "Scenario":
    from mqproof.harness.chaos.faults import known_faults
    from mqproof.harness.chaos.saboteur import SCENARIO
    from mqproof.harness.chaos.scenario import BadScenario, Scenario, parse_fault, read, seconds

    known = known_faults(protocol)
    if sum(map(bool, (faults, file, repeat))) != 1:
        raise BadScenario("name what is to go wrong, in one way: --fault NAME, --scenario FILE or --repeat RUN")
    if file or repeat:
        return read(file or Path(str(repeat)) / SCENARIO, known)
    probability, seed, after, only = common
    begin = seconds(after, "--after")
    plans = [parse_fault(text, known, probability=probability, after=begin, only=only) for text in faults]
    return Scenario(tuple(plans), seed)


def _stand(
    word: str,
    tls: object,
    scenario: "Scenario",
    port: int,
    lasts: float | None,
    out: Path | None,
    repeat: Path | None,
    tell: "Teller",
) -> None:
    from mqproof.harness.chaos.saboteur import Saboteur
    from mqproof.harness.run import Run, new_folder
    from mqproof.harness.targets.opening import open_all
    from mqproof.harness.targets.target import Tls

    with ExitStack() as resources:
        assert tls is None or isinstance(tls, Tls)
        name = "rabbitmq-amqp" if word == "rabbitmq" else word
        target = open_all([name], resources, tls=tls)[0]
        folder = out or new_folder()
        folder.mkdir(parents=True, exist_ok=True)
        run = Run()
        run.add_targets([target])
        run.save(folder)
        try:
            made = Saboteur(target, scenario, port=port, folder=folder, watch=tell.event, replay=_replay(repeat))
        except OSError as error:
            raise OSError(f"--listen {port}: {error.strerror or error}") from None
        saboteur = resources.enter_context(made)
        with suppress(KeyboardInterrupt):  # it may come as soon as the greeting can be read
            tell.greeting(target, saboteur, folder)
            _wait(lasts)
        tell.end(saboteur.decisions.passed, saboteur.decisions.met)
        run.finish(complete=True)
        run.save(folder)


def _replay(repeat: Path | None) -> "Replay | None":
    from mqproof.harness.chaos.decisions import Replay
    from mqproof.harness.chaos.saboteur import TRANSCRIPT

    return Replay((repeat / TRANSCRIPT).read_text(encoding="utf-8").splitlines()) if repeat else None


class Teller:
    """Says what happens, for people or as JSON: where to connect, each event, and the sums at the end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def greeting(self, target: "Target", saboteur: "Saboteur", folder: Path) -> None:
        """Say where the application connects."""
        if self._as_json:
            where = {"host": saboteur.host, "port": saboteur.port, "broker": target.redacted_url}
            typer.echo(json.dumps({**where, "folder": str(folder)}))
            return
        product = f" ({target.product} {target.version})" if target.product else ""
        say(f"connect to {saboteur.host}:{saboteur.port}; the broker is {target.redacted_url}{product}")
        typer.echo(f"the transcript is in {folder}; Ctrl-C ends")

    def event(self, event: "Event") -> None:
        """Say what a fault met."""
        say(event.as_json() if self._as_json else event.line)

    def end(self, passed: int, met: Mapping[str, int]) -> None:
        """Say how many messages passed, and what each fault met."""
        if self._as_json:
            typer.echo(json.dumps({"passed": passed, "met": dict(met)}))
            return
        counts = ", ".join(f"{fault} {count}" for fault, count in met.items())
        typer.echo(f"{counted(passed, 'message')} passed untouched; {counts or 'no fault met anything'}")


def _wait(lasts: float | None) -> None:
    import signal
    import threading

    over = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        over.wait(lasts)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def _list(as_json: bool) -> None:
    from mqproof.harness.chaos.faults import MESSAGES, TRANSPORT, broker_faults

    groups: dict[str, Mapping[str, str]] = {
        "messages, AMQP and MQTT": MESSAGES,
        "connections": TRANSPORT,
        "brokers' faults, AMQP": broker_faults("amqp"),
        "brokers' faults, MQTT": broker_faults("mqtt"),
    }
    if as_json:
        say_json([
            {"group": group, "name": name, "says": says}
            for group, faults in groups.items() for name, says in faults.items()
        ])  # fmt: skip
        return
    for title, faults in groups.items():
        typer.echo(f"{title}:")
        for name, says in faults.items():
            typer.echo(f"  {name}: {says}")
