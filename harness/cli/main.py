"""The command ``mqproof``: commands are imported when they are called, so that ``--help`` answers at once."""

import difflib
import importlib
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
import typer.main
from mqproof.harness.cli.failing import ended
from mqproof.harness.cli.helping import Command
from typer.core import TyperGroup

# Command -> one line of help; the module of the same name below mqproof.harness.cli has the function, or ``app``.
COMMANDS = {
    "test": "Judge brokers: a verdict for each normative statement.",
    "analyze": "Book every byte of a capture: what do messages cost?",
    "forecast": "Forecast what traffic costs a day: AMQP, MQTT, HTTP.",
    "load": "Put load on a broker and account for every message.",
    "report": "Make one self-contained page of one or several runs.",
    "scorecard": "Make a page with the matrix of statements and brokers.",
    "conformance": "Write the page of statements and brokers, in Markdown.",
    "stability": "Repeat the suites and show the verdicts that differ.",
    "compare": "Show what changed between two runs.",
    "choose": "Measure two brokers on a workload, and recommend one.",
    "impact": "Show what an upgrade changes for an application, by its traffic.",
    "gate": "Let a run pass or fail by rules, for CI.",
    "report-bug": "Print what a broker's maintainers need to see a deviation.",
    "runs": "List the run directories, pack and unpack them.",
    "faults": "Prove that the suites can fail: break one promise at a time.",
    "sabotage": "Stand between an application and its broker, and break what it relies on.",
    "client-test": "Judge a client's traffic: a verdict for each statement that binds clients.",
    "crash": "Crash, freeze and starve brokers under load, and count what is lost.",
    "clean": "Remove what crashed load runs left on a broker.",
    "statements": "List the normative statements and the tests on them.",
    "probe": "Find out what a broker offers, and its limits as measured.",
    "brokers": "List the local brokers that can be started.",
}

HELP = """Does a message broker keep its promises, what do they cost on the wire, how much load does it hold?"""
START = """mqproof judges message brokers (AMQP 0-9-1, MQTT 3.1.1 and 5.0). What next?

  mqproof test                          judge the embedded reference brokers
  mqproof test amqp://HOST mqtt://HOST  judge yours; touches only its own names
  mqproof test rabbitmq --record        start a RabbitMQ here, keep its packets
  mqproof scorecard RUN                 the verdicts of a run as a page
  mqproof analyze FILE.pcapng           where did the bytes of a capture go?
  mqproof load welcome-email TARGET     put load on it, count every message

mqproof --help lists every command, mqproof COMMAND --help explains one."""


class LazyGroup(TyperGroup):
    """A group whose commands are imported on use; while help is printed they are names with a line of help."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands in the order of :data:`COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command, or None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        return command_of(cmd_name) if ctx.meta.get("mqproof.called") else _placeholder(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Resolve the command that is called, importing its module only now."""
        ctx.meta["mqproof.called"] = True
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f", but there is {near[0]}" if near else ""))
        return super().resolve_command(ctx, args)


def _placeholder(name: str) -> Any:
    def nothing() -> None: ...

    return _single(name, nothing)


def command_of(name: str) -> Any:
    """Return a command of :data:`COMMANDS`, importing its module."""
    module_name = name.replace("-", "_")
    module: Any = importlib.import_module(f"mqproof.harness.cli.{module_name}")
    app = getattr(module, "app", None)
    command = _single(name, getattr(module, module_name)) if app is None else typer.main.get_command(app)
    command.name = name
    return command


def _single(name: str, function: Any) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, cls=Command, short_help=COMMANDS[name])(function)
    return typer.main.get_command(app)


app = typer.Typer(cls=LazyGroup, help=HELP, rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mqproof {version('mqproof')}")
        raise typer.Exit


@app.callback(invoke_without_command=True, help=HELP)
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Say what to do next when no command is given."""
    if ctx.invoked_subcommand is None:
        typer.echo(START)


def main() -> None:
    """Run the command line. Exit codes are those of the commands; 2 for wrong usage."""
    sys.exit(ended(lambda: app(prog_name="mqproof", standalone_mode=False)))
