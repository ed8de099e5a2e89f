"""The account as one self-contained page: charts and tables, no script, no request."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mqproof.harness.printable import html_text
from mqproof.harness.reporting.charts import lines, stacked_bars, timeline
from mqproof.harness.reporting.messages_text import FATES, TIMES
from mqproof.harness.reporting.tables import figure

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; padding-left: 0; white-space: pre-wrap; }
svg { width: 100%; height: auto; max-width: 800px; margin: .5rem 0 1rem; display: block; }
@media (max-width: 600px) { svg { min-width: 620px; } }
.wide { overflow-x: auto; } .soft { opacity: .7; } li { margin-bottom: .6rem; } code { background: var(--soft); }
"""
PROTOCOLS = {
    "amqp": "AMQP", "mqtt": "MQTT", "mqtt_qos0": "MQTT QoS 0", "mqtt_qos1": "MQTT QoS 1", "mqtt_qos2": "MQTT QoS 2",
    "other": "other",
}  # fmt: skip
Cells = Sequence[object]


def account_page(account: Mapping[str, Any], series: Mapping[str, Sequence[float]], seconds: float) -> str:
    """Return the page. ``series``: octets by kind of traffic in slices of so many seconds."""
    names = ", ".join(entry["name"] for entry in account["files"])
    parts = [f"<h1>{html_text(names)}</h1>", f"<p>{_head(account)}</p>"]
    parts += ["<h2>Where the bytes go</h2>", _layers(account), _purposes(account)]
    parts += ["<h2>Overhead against payload size</h2>", _overheads(account["followed"]["by_size"])]
    if series:
        parts += ["<h2>Timeline</h2>", timeline("Captured TCP packets", "bytes", seconds, series)]
    parts += ["<h2>Messages</h2>", _followed(account["followed"]), "<h2>Findings</h2>", _findings(account["findings"])]
    parts += ["<h2>Packets and frames</h2>", *_kinds(account), "<h2>Topics and routing keys</h2>", *_keys(account)]
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    head += '<meta name="viewport" content="width=device-width">'
    head += f"<title>mqproof: {html_text(names)}</title><style>{STYLE}</style>"
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{_wide("".join(parts))}</body></html>\n'


def _wide(html: str) -> str:
    """Let each chart scroll by itself where the window is too narrow to read it."""
    return html.replace("<svg", '<div class="wide"><svg').replace("</svg>", "</svg></div>")


def _head(account: Mapping[str, Any]) -> str:
    packets = "" if account["packets"] is None else f"{account['packets']:,} packets, "
    text = f"{packets}{account['bytes']['captured']:,} bytes in {account['duration_s']:,.3f} s."
    if account["synthetic_headers"]:
        text += " The TCP/IP headers of this recording are made up: link, IP and TCP figures are not given."
    for entry in account["files"]:
        if entry["stopped_at"] is not None:
            where = f"{entry['name']} stops at byte {entry['stopped_at']:,}"
            text += f" {html_text(where)}: {html_text(entry['stopped_why'])}."
    return text


def _layers(account: Mapping[str, Any]) -> str:
    layers = {name.replace("_", " "): count for name, count in account["bytes"]["by_layer"].items() if count}
    total = account["bytes"]["captured"] or 1
    rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in layers.items()]
    chart = stacked_bars("Bytes by layer", "bytes", {name: {"bytes": count} for name, count in layers.items()})
    table = _table(("by layer", "bytes", "share"), [*rows, ("sum", f"{account['bytes']['captured']:,}", "")])
    return chart + _folded("as a table", table)


def _purposes(account: Mapping[str, Any]) -> str:
    rows = {
        PROTOCOLS.get(name, name): {purpose.replace("_", " "): count for purpose, count in row["by_purpose"].items()}
        for name, row in account["bytes"]["by_protocol"].items()
    }
    return stacked_bars("Bytes by protocol and purpose", "bytes", rows) if rows else ""


def _overheads(sizes: Sequence[Mapping[str, Any]]) -> str:
    """Octets beside the payload for one hop: a publish, or a delivery."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for row in sizes:
        hops = row["payload"] / row["size"] if row["size"] else row["messages"] + row["deliveries"]
        if hops and row["bytes"] > row["payload"]:
            rows.setdefault(row["group"], []).append((row["size"], (row["bytes"] - row["payload"]) / hops))
    if not rows:
        return "<p>There is no message to follow.</p>"
    says = "bytes beside the payload, per publish or delivery"
    chart = lines("Headers, frames and acknowledgements of one hop", "octets of payload", says, rows)
    cells = [
        (f"{name}, {size:,.0f} octets", figure(over), f"{size / (size + over):.1%}")
        for name, points in rows.items()
        for size, over in points
    ]
    return chart + _folded("as a table", _table(("payload", "bytes beside it", "share of payload"), cells))


def _followed(followed: Mapping[str, Any]) -> str:
    groups = followed["groups"]
    if not groups:
        return "<p>There is no message to follow.</p>"
    fates = []
    for says, (section, name) in FATES.items():
        values = [group[name] if section is None else group[section][name] for group in groups.values()]
        if any(values):
            fates.append((says, *(f"{value:,}" if value else "-" for value in values)))
    times = [
        (f"{name}: {says}", f"{row['count']:,}", *(f"{row[f'{key}_ms']:,.3f}" for key in ("min", "p50", "p95", "max")))
        for name, group in groups.items()
        for measure, says in TIMES.items()
        if (row := group["latency"][measure])
    ]
    columns = ("packet", "payload", "deliveries", "packets")
    costliest = [
        (row["name"], *(f"{row[key]:,}" for key in columns), figure(row["bytes"])) for row in followed["costliest"]
    ]
    return (
        _table(("what became of them", *groups), fates)
        + _table(("milliseconds on the wire", "count", "min", "p50", "p95", "max"), times)
        + _table(("the costliest", *columns, "bytes"), costliest)
    )


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<p>None.</p>"
    items = []
    for finding in findings:
        packets = ", ".join(map(str, finding["packets"]))
        where = f"{html_text(finding['file'])}, packets {packets}"
        text = f"{html_text(finding['text'])}<br><span class=soft>{html_text(finding['means'])}</span>"
        items.append(f"<li><code>{html_text(finding['kind'])}</code>, {finding['count']} times, {where}<br>{text}</li>")
    return f"<ul>{''.join(items)}</ul>"


def _kinds(account: Mapping[str, Any]) -> Iterable[str]:
    columns = ("count", "from_client", "from_broker", "bytes", "payload")
    for protocol, kinds in account["kinds"].items():
        if kinds:
            rows = [(name, *(f"{row[key]:,}" for key in columns)) for name, row in kinds.items()]
            yield _table((protocol.upper(), "count", "to broker", "to client", "bytes", "payload"), rows)


def _keys(account: Mapping[str, Any]) -> Iterable[str]:
    columns = ("published", "delivered", "payload", "bytes")
    for title, name in (("topic", "topics"), ("exchange / routing key", "routing_keys")):
        rows = [
            (_name(row), *(f"{row[key]:,}" for key in columns))
            for row in (*account[name]["top"], {"topic": "(other)", **account[name]["other"]})
            if row["bytes"]
        ]
        if rows:
            yield _table((title, *columns), rows)


def _name(row: Mapping[str, Any]) -> str:
    return str(row["topic"]) if "topic" in row else f"{row['exchange'] or '(default)'} / {row['routing_key']}"


def _table(columns: Cells, rows: Sequence[Cells]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{html_text(cell)}</th>" for cell in columns)
    body = "".join("<tr>" + "".join(f"<td>{html_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _folded(says: str, inner: str) -> str:
    return f"<details><summary>{html_text(says)}</summary>{inner}</details>"
