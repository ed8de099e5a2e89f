"""How a command's help names its arguments and options, for the terminal and for the page of reference."""

import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from typer.core import TyperCommand

KINDS = {int: "NUMBER", float: "NUMBER", Path: "PATH"}


class Command(TyperCommand):
    """A command whose help says NUMBER, not ``<int range>``, and lists no argument that it does not explain."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words behind the command's name in the line of usage."""
        arguments = (usage_of(one) for one in self.get_params(ctx) if one.param_type_name == "argument")
        return ["[OPTIONS]", *arguments]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the prose; names are not broken at their hyphens, because they are copied."""
        for kept, text in paragraphs(self.help or ""):
            formatter.write_paragraph()
            width = max(formatter.width - 2, 40)
            lines = text.split("\n") if kept else textwrap.wrap(text, width, break_on_hyphens=False)
            formatter.write("".join(f"  {line}\n" for line in lines))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what stands below the prose."""
        arguments, options = [], []
        for one in self.get_params(ctx):
            if one.param_type_name == "argument":
                arguments += [(name_of(one), said)] if (said := getattr(one, "help", None)) else []
                continue
            if not getattr(one, "is_flag", True):
                one.metavar = one.metavar or kind_of(one)
            record = one.get_help_record(ctx)
            options += [record] if record else []
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def paragraphs(text: str) -> Iterator[tuple[bool, str]]:
    r"""Yield each paragraph of a command's prose, and before it whether its lines are kept (those under ``\b``)."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        kept = paragraph.lstrip().startswith("\b")
        body = paragraph.replace("\b\n", "").replace("\b", "").rstrip()
        yield kept, body if kept else " ".join(body.split())


def usage_of(argument: Any) -> str:
    """Return an argument as the line of usage has it: ``RUN...``, ``[TARGET...]``."""
    name = name_of(argument)
    return name if argument.required else f"[{name}]"


def name_of(argument: Any) -> str:
    """Return an argument's name, with dots where there may be several; a name of two words is two arguments."""
    name = str(argument.metavar or argument.name.upper()).strip("[]{}.")
    is_several = argument.nargs != 1 and (" " not in name or name.startswith("-- "))
    return f"{name}..." if is_several else name


def kind_of(option: Any) -> str:
    """Return what an option takes: ``NUMBER``, ``PATH`` or ``TEXT``."""
    annotation = option.type_descriptor.annotation
    return KINDS.get(next(iter(get_args(annotation)), annotation), "TEXT")
