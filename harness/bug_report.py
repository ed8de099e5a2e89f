"""A report that a broker's maintainers can use: the clause, the smallest conversation, and a script without mqproof."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqproof.harness.evidence import FOLDER, LONGEST_OCTETS, MASK, as_text
from mqproof.harness.run import Run
from mqproof.harness.statements.links import link_of
from mqproof.harness.statements.registry import Statement, find, load
from mqproof.harness.verdicts import Verdict

WEB = "over WebSocket"  # in the title of a wire
ACCUSED = (Verdict.DEVIATES, Verdict.KNOWN_DEVIATION)
SCRIPT = '''\
import socket

HOST, PORT = "127.0.0.1", {port}  # the broker
STEPS = [  # connection, octets to send, what they say
{steps}
]

connections = {{}}
for number, octets, says in STEPS:
    if number not in connections:
        connections[number] = socket.create_connection((HOST, PORT), timeout=5)
    connection = connections[number]
    print(f"{{number}} > {{says}}")
    try:
        connection.sendall(bytes.fromhex(octets))
        connection.settimeout(1)
        while answer := connection.recv(65536):
            print(f"{{number}} < {{answer.hex(' ')}}")
        print(f"{{number}} < the broker closed the connection")
    except TimeoutError:
        pass
    except OSError as error:
        print(f"{{number}} ! {{error}}")
'''


class NothingToReport(ValueError):
    """A statement from which no broker in the run deviates; one line says what there is."""


@dataclass(frozen=True, slots=True)
class Case:
    """One deviation: the statement, its row in run.json, the target, and the smallest conversation that shows it."""

    statement: Statement
    row: dict[str, Any]
    target: dict[str, Any]
    test: str
    wires: list[dict[str, Any]]


def smallest_case(run: Run, folder: Path, identifier: str, target: str | None = None) -> Case:
    """Return the deviation from a statement (``spec:id``, or an id that one specification has) to report.

    Raises NothingToReport, and UnknownStatement.
    """
    keys = [key for key in load() if identifier in (key, load()[key].id)] or [find(identifier).key]
    rows = [row for row in run.statements if f"{row['spec']}:{row['id']}" in keys and target in (None, row["target"])]
    accused = [row for row in rows if row["verdict"] in ACCUSED]
    if not accused:
        found = ", ".join(f"{row['verdict']} on {row['target']}" for row in rows) or "not in this run"
        raise NothingToReport(f"no deviation from {identifier} to report: {found}")
    row = accused[0]
    test, wires = _smallest_conversation(run, folder, row)
    described = next(one for one in run.targets if one["name"] == row["target"])
    return Case(load()[f"{row['spec']}:{row['id']}"], row, described, test, wires)


def as_markdown(case: Case) -> str:
    """Return the report, ready to be sent."""
    statement, row, target = case.statement, case.row, case.target
    product = f"{target['product']} {target['version']}".strip() or target["name"]
    parts = [
        f"# {product}: {statement.summary}",
        f"**Clause:** [{statement.key}]({link_of(statement)}) ({statement.level}, {statement.section}), in our words: "
        f"{statement.summary}",
        f"**Expected:** {row['expected'] or 'what the clause says'}",
        f"**Actual:** {row['actual'] or row['reason']}",
        f"**Broker:** {product}",
    ]
    if case.wires:
        parts += ["## The conversation", _fenced(as_text(case.wires), "text")]
        script = standalone_script(case)
        if script:
            parts += ["## To see it", "Plain Python, nothing to install:", _fenced(script, "python")]
        else:
            parts.append("A script is left out: the conversation is cut, holds a secret, or goes over WebSocket.")
    parts.append(f"Found by the test `{case.test}` of mqproof.")
    return "\n\n".join(parts) + "\n"


def standalone_script(case: Case) -> str | None:
    """Return a script that says the same octets again; None where they are cut, masked or in frames, or not kept."""
    if str(case.target["url"]).startswith("ws") or any(WEB in str(wire.get("title")) for wire in case.wires):
        return None
    said = [
        (wire["started"] * 1000 + line["ms"], number, line)
        for number, wire in enumerate(case.wires, 1)
        for line in wire["lines"]
        if line["direction"] == ">"
    ]
    lines = [(number, line) for _, number, line in sorted(said, key=lambda step: step[0])]
    if not lines or any(not _is_whole(line) for _, line in lines):
        return None
    steps = [f'    ({number}, "{line["hex"]}", {json.dumps(line["text"][:60])}),' for number, line in lines]
    port = str(case.target["url"]).rpartition(":")[2].partition("/")[0]
    return SCRIPT.format(port=port, steps="\n".join(steps))


def _is_whole(line: dict[str, Any]) -> bool:
    octets = bytes.fromhex(line["hex"])
    return 0 < len(octets) <= LONGEST_OCTETS and len(octets) == line.get("octets") and MASK.encode() not in octets


def _smallest_conversation(run: Run, folder: Path, row: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    found: list[tuple[int, str, list[dict[str, Any]]]] = []
    for test in run.tests:
        name = str(test.get("transcript") or "")
        is_one = test["id"] in row["tests"] and test["outcome"] == row["verdict"] and name.startswith(f"{FOLDER}/")
        if is_one and (folder / name).is_file():
            wires = json.loads((folder / name).read_text(encoding="utf-8"))["wires"]
            found.append((_length(wires), test["id"], wires))
    if not found:
        return row["tests"][0], []
    _, test_id, wires = min(found, key=lambda one: one[:2])
    return test_id, wires


def _length(wires: Sequence[dict[str, Any]]) -> int:
    return sum(len(wire["lines"]) for wire in wires)


def _fenced(text: str, language: str) -> str:
    fence = "```" if "```" not in text else "~~~~"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
