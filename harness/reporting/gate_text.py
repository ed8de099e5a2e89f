"""The gate's result for people and machines: terminal, JUnit, GitHub annotations, Markdown, badge."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from mqproof.harness.gate import Result, passes
from mqproof.harness.printable import printable, printable_lines
from mqproof.harness.reporting.markdown import cell
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

MARK = "<!-- mqproof-gate -->"  # by which a sticky comment finds itself again


def print_results(results: Sequence[Result], console: Console) -> None:
    """Print each rule, the value, the bound, pass or fail."""
    for result in results:
        word = Text("pass", "green") if result.passed else Text("FAIL", "bold red")
        console.print(Text.assemble(word, f"  {result.rule}: {result.value}, allowed is {result.bound}"))
        if result.detail:
            console.print(Padding(Text(result.detail), (0, 0, 0, 6)))


def junit(results: Sequence[Result]) -> str:
    """Return the results as JUnit XML, one test case for each rule."""
    failures = sum(not result.passed for result in results)
    suite = ElementTree.Element("testsuite", name="mqproof gate", tests=str(len(results)), failures=str(failures))
    for result in results:
        case = ElementTree.SubElement(suite, "testcase", classname="gate", name=printable(result.rule))
        if not result.passed:
            message = printable(f"{result.value}, allowed is {result.bound}")
            ElementTree.SubElement(case, "failure", message=message).text = printable_lines(result.detail)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def annotations(results: Sequence[Result]) -> str:
    """Return a GitHub annotation for each rule that failed."""
    lines = []
    for result in results:
        if not result.passed:
            text = f"{result.rule}: {result.value}, allowed is {result.bound}. {result.detail}".strip()
            lines.append(f"::error title=mqproof gate::{_escaped(text)}\n")
    return "".join(lines)


def markdown(results: Sequence[Result]) -> str:
    """Return the results as Markdown, for a step's summary or one sticky comment."""
    failed = sum(not result.passed for result in results)
    head = "passes" if passes(list(results)) else f"fails: {failed} of {len(results)} rules"
    lines = [MARK, f"### mqproof: the gate {head}", "", "| | rule | value | bound | about |", "|---|---|---|---|---|"]
    for result in results:
        word = "pass" if result.passed else "**FAIL**"
        cells = map(cell, (result.rule, result.value, result.bound, result.detail))
        lines.append(f"| {word} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def badge(results: Sequence[Result]) -> str:
    """Return the JSON of an endpoint badge (shields.io)."""
    good = passes(list(results))
    failed = sum(not result.passed for result in results)
    message = "conforms" if good else f"{failed} rules fail"
    data = {"schemaVersion": 1, "label": "mqproof", "message": message, "color": "brightgreen" if good else "red"}
    return json.dumps(data) + "\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
