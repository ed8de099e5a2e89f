"""Pictures without scripts: conversations as sequence diagrams, numbers as bars."""

from collections.abc import Sequence
from typing import Any

from mqproof.harness.printable import html_text

ROW = 22  # pixels for each line of a conversation
LANE = 190  # pixels between two connections
LEFT = 90  # room for the time
TEXT = 620  # room for what is said
HEAD = 40
MOST = 120  # lines; of a longer conversation the middle is left out
LABEL = 83  # characters; so many fit into TEXT
STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#223}.t{fill:#678;font-size:11px}.h{font-weight:bold}"
    ".l{stroke:#99a;stroke-dasharray:3 3}.a{stroke:#246;stroke-width:1.4}.b{stroke:#a40;stroke-width:1.4}.e{fill:#a00}"
    "@media(prefers-color-scheme:dark){text{fill:#dde}.t{fill:#9ab}.a{stroke:#8bf}.b{stroke:#fb8}.e{fill:#f99}}"
)


def sequence(wires: Sequence[dict[str, Any]]) -> str:
    """Return the conversations on several connections as one sequence diagram, in the order of time.

    ``wires``: as an evidence file holds them: title, started (seconds), lines with ms, direction and text.
    """
    lanes = [(lane, wire["started"] * 1000, line) for lane, wire in enumerate(wires) for line in wire["lines"]]
    lines = sorted(((began + line["ms"], lane, line) for lane, began, line in lanes), key=lambda entry: entry[0])
    shown = lines if len(lines) <= MOST else [*lines[: MOST // 2], *lines[-MOST // 2 :]]
    broker = LEFT + LANE * len(wires)
    height = HEAD + ROW * (len(shown) + 1 + (len(shown) < len(lines)))
    parts = [_lifeline(LEFT + LANE * lane, str(wire["title"]), height) for lane, wire in enumerate(wires)]
    parts.append(_lifeline(broker, "broker", height))
    y, first = HEAD, lines[0][0] if lines else 0.0
    for number, (moment, lane, line) in enumerate(shown):
        if len(shown) < len(lines) and number == MOST // 2:
            y += ROW
            parts.append(f'<text x="{LEFT}" y="{y}" class="t">{len(lines) - len(shown)} lines are left out</text>')
        y += ROW
        parts.append(_arrow(y, moment - first, LEFT + LANE * lane, broker, line))
    return _svg(broker + TEXT, height + ROW, parts)


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str) -> str:
    """Return horizontal bars with their values; none for no rows."""
    top = max((value for _, value in rows), default=0.0) or 1.0
    parts = [f'<text x="0" y="14" class="h">{html_text(title)}</text>']
    for number, (name, value) in enumerate(rows):
        y = 28 + 24 * number
        parts.append(f'<text x="0" y="{y + 13}">{html_text(name[:38])}</text>')
        length = 300 * value / top
        parts.append(f'<rect x="280" y="{y}" width="{max(1.0, length):.1f}" height="17" rx="2" fill="#48a"/>')
        parts.append(f'<text x="{288 + length:.1f}" y="{y + 13}" class="t">{value:,.4g} {html_text(unit)}</text>')
    return _svg(720, 34 + 24 * len(rows), parts)


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    marks = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" class="{name}"/></marker>'
        for name in ("a", "b")
    )
    return f"{head}<style>{STYLE}</style><defs>{marks}</defs>{''.join(parts)}</svg>"


def _lifeline(x: int, title: str, height: int) -> str:
    name = f'<text x="{x}" y="20" text-anchor="middle" class="h">{html_text(title[:26])}</text>'
    return f'{name}<line x1="{x}" y1="28" x2="{x}" y2="{height}" class="l"/>'


def _arrow(y: int, ms: float, client: int, broker: int, line: dict[str, Any]) -> str:
    text = str(line["text"])
    label = html_text(text if len(text) <= LABEL else text[: LABEL - 1] + "…")
    full = f"<title>{html_text(text)}</title>"
    time = f'<text x="0" y="{y + 4}" class="t">{ms:9.1f} ms</text>'
    event = ' class="e"' if line["direction"] == "!" else ""
    said = f'<text x="{broker + 12}" y="{y + 4}"{event}>{label}{full}</text>'
    if line["direction"] == "!":
        return f'{time}<circle cx="{client}" cy="{y}" r="4" class="e"/>{said}'
    start, end, kind = (client, broker, "a") if line["direction"] == ">" else (broker, client, "b")
    return f'{time}<line x1="{start}" y1="{y}" x2="{end}" y2="{y}" class="{kind}" marker-end="url(#{kind})"/>{said}'
