"""The verdict for people: one document, as Markdown and as a self-contained page."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mqproof.harness.choose import SCHEMA, Candidate, Choice, shown_measure
from mqproof.harness.choose_claims import Claim
from mqproof.harness.printable import html_text
from mqproof.harness.reporting.compare_text import STYLE
from mqproof.harness.reporting.markdown import cell

ROWS = (
    ("message_octets", "one message on the device's line, TCP/IP and acknowledgements included"),
    ("message_packets", "packets for it"),
    ("message_protocol", "of it the protocol's own, beside the payload"),
    ("message_payload", "of it payload"),
    ("connection_octets", "connecting and disconnecting"),
    ("ping_octets", "a sign of life"),
    ("month_mb", "one device in a month"),
    ("p50_ms", "latency, median"),
    ("p99_ms", "latency, 99th percentile"),
    ("paced_rate", "at a rate of"),
    ("lost", "messages lost at that rate"),
    ("throughput", "throughput with the guarantees that it asks for"),
    ("lost_at_full_speed", "messages lost at full speed"),
    ("duplicated", "messages duplicated"),
    ("memory_idle_mb", "memory when idle"),
    ("memory_per_connection_kb", "for each connection"),
    ("memory_per_queued", "for each queued message"),
    ("cpu_per_million", "CPU for a million messages"),
    ("judged", "statements judged"),
    ("deviations", "of them broken, known ones included"),
)
RULE = (
    "Each recommendation follows an open rule: first the workload's needs, as conformance tests showed them; then "
    "whether the rate is held with the guarantees that it asks for and nothing lost; then the costs, where they are "
    "more than a tenth apart. Octets are of the IP packets, link headers left out; a message is written to the "
    "connection at once, which is the least that the protocol costs: client libraries that cut it into pieces pay "
    "more (`mqproof analyze` says how much). A workload that asks for TLS is measured over TLS from end to end (on "
    "local brokers, with an elliptic-curve certificate and a full handshake at each connection), records included."
)
Block = tuple[str, Any]  # kind (h1, h2, h3, p, list, table), content


@dataclass(slots=True)
class Report:
    """Everything that was found: when, with what, on which machine, for which workloads."""

    date: str
    version: str
    machine: str
    choices: list[Choice] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return it as data for JSON."""
        return {"schema": SCHEMA, **asdict(self)}


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    parts = []
    for kind, content in _blocks(report):
        if kind in ("h1", "h2", "h3"):
            parts.append(f"{'#' * int(kind[1])} {content}")
        elif kind == "p":
            parts.append(str(content))
        elif kind == "list":
            parts.append("\n".join(f"- {text}" for text in content))
        else:
            rows = [f"| {' | '.join(map(cell, row))} |" for row in content]
            parts.append("\n".join([rows[0], "|" + "---|" * len(content[0]), *rows[1:]]))
    return "\n\n".join(parts) + "\n"


def page(report: Report) -> str:
    """Return the report as one self-contained page."""
    parts = []
    for kind, content in _blocks(report):
        if kind in ("h1", "h2", "h3", "p"):
            text = str(content).replace("`", "")
            parts.append(f"<{kind}>{html_text(text)}</{kind}>")
        elif kind == "list":
            parts.append("<ul>" + "".join(f"<li>{html_text(text)}</li>" for text in content) + "</ul>")
        else:
            parts.append(_html_table(content))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html_text(_title(report))}</title><style>{STYLE}</style>'
    )
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html_text(text)}</th>" for text in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html_text(text)}</td>" for text in row) + "</tr>" for row in rows[1:])
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _title(report: Report) -> str:
    return " or ".join(one.title for one in report.choices[0].candidates) + "?"


def _blocks(report: Report) -> Iterator[Block]:
    yield "h1", _title(report)
    yield "p", f"Measured on {report.date} with mqproof {report.version} on {report.machine}, everything over loopback."
    yield "p", RULE
    yield "table", [["workload", "use", "because"], *map(_summary, report.choices)]
    if report.claims:
        yield "h2", "What is commonly said"
        rows = [[f"“{claim.quote}”", claim.finding, claim.evidence.text] for claim in report.claims]
        yield "table", [["claim", "here", "evidence"], *rows]
    for choice in report.choices:
        yield from _choice(choice)


def _summary(choice: Choice) -> list[str]:
    chosen = next((one.title for one in choice.candidates if one.name == choice.recommended), "either")
    return [choice.workload, chosen, choice.sentences[0].text]


def _choice(choice: Choice) -> Iterator[Block]:
    yield "h2", choice.workload
    yield "p", choice.title + "."
    yield "list", [sentence.text for sentence in choice.sentences]
    yield "h3", f"{choice.workload}: needs"
    rows = [[need.feature, *(_need(one, number) for one in choice.candidates)] for number, need in _needs(choice)]
    yield "table", [["need", *(one.title for one in choice.candidates)], *rows]
    yield "h3", f"{choice.workload}: measured"
    secured = [one.tls or "no" for one in choice.candidates]
    tls = [["TLS", *secured]] if set(secured) != {"no"} else []
    yield "table", [["", *(one.title for one in choice.candidates)], *tls, *_measured(choice)]


def _needs(choice: Choice) -> Iterator[tuple[int, Any]]:
    yield from enumerate(choice.candidates[0].needs)


def _need(candidate: Candidate, number: int) -> str:
    need = candidate.needs[number]
    return f"{'yes' if need.is_met else 'no'}: {need.proof}"


def _measured(choice: Choice) -> list[list[str]]:
    rows = []
    for key, words in ROWS:
        facts = [one.facts.get(key) for one in choice.candidates]
        if any(fact is not None for fact in facts):
            rows.append([words, *(shown_measure(fact) if fact else "not measured" for fact in facts)])
    return rows
