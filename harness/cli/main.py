"""The command ``mqproof``: commands are imported when they are called, so that ``--help`` answers at once."""

import importlib
import sys
from typing import Any

import click
import typer.main

# Command -> (module below mqproof.harness.cli, one line of help).
COMMANDS = {
    "test": ("test", "Judge brokers: run the conformance suites and give a verdict per statement."),
    "analyze": ("analyze", "Book every byte of a capture and measure the overhead of messages."),
    "load": ("load", "Put load on a broker and account for every message."),
    "report": ("report", "Make one self-contained page of one or several runs."),
    "faults": ("faults", "Prove that the suites can fail: break one promise at a time."),
    "statements": ("statements", "List the normative statements and the tests that cover them."),
    "brokers": ("brokers", "List the local brokers that can be started, and how to install the others."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of :data:`COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command; while help is printed, only its name and line of help."""
        if cmd_name not in COMMANDS:
            return None
        module_name, line = COMMANDS[cmd_name]
        if ctx.args is not None and _only_listing(ctx):
            return click.Command(cmd_name, short_help=line, help=line)
        return _load(cmd_name, module_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the command name, importing its module only now."""
        ctx.meta["mqproof.listing"] = False
        return super().resolve_command(ctx, args)


def _only_listing(ctx: click.Context) -> bool:
    return bool(ctx.meta.get("mqproof.listing", True))


def _load(name: str, module_name: str) -> click.Command:
    module: Any = importlib.import_module(f"mqproof.harness.cli.{module_name}")
    app = getattr(module, "app", None)
    if app is not None:
        command = typer.main.get_command(app)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        single.command(name)(getattr(module, name))
        command = typer.main.get_command(single)
    command.name = name
    command.short_help = COMMANDS[name][1]
    return command


HELP = """Does a message broker keep its promises, what do they cost on the wire, how much load does it hold?

\b
  mqproof test                        judge the embedded brokers
  mqproof test amqp://HOST mqtt://HOST   judge yours
  mqproof test rabbitmq --record      start a local RabbitMQ, judge it, record its packets
  mqproof analyze FILE.pcapng         where did the bytes go?
  mqproof load welcome-email rabbitmq put load on it, and count every message
"""


@click.group(cls=LazyGroup, help=HELP, invoke_without_command=True)
@click.version_option(package_name="mqproof", message="mqproof %(version)s")
@click.pass_context
def root(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line. Exit codes are those of the commands; 2 for wrong usage."""
    sys.exit(root(prog_name="mqproof", standalone_mode=True))
