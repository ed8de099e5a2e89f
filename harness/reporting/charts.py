"""Charts as SVG without scripts, in the colours of whoever looks at them (light or dark)."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from mqproof.harness.printable import html_text

# Okabe and Ito's colours: told apart by everybody, on light and on dark.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A500", "#8C8C8C")
DARK: Final = ("#0072B2",)  # on which white is easier to read than black
STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#222}.h{font-weight:600;font-size:14px}.s{fill:#666;font-size:11px}"
    ".g{stroke:#8884;stroke-width:1}.v{fill:#111;font-size:11px;font-weight:600}.w{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.s{fill:#aaa}}"
)
WIDTH: Final = 760
LEFT: Final = 150


def stacked_bars(title: str, unit: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return one horizontal bar for each row, of parts in the order in which they first come."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    most = max((sum(row.values()) for row in rows.values()), default=0) or 1
    scale = (WIDTH - LEFT - 90) / most
    out = [f'<text x="0" y="16" class="h">{html_text(title)}</text>', _legend(parts, 26) if len(parts) > 1 else ""]
    y = 52 if len(parts) > 1 else 30
    for name, row in rows.items():
        x = float(LEFT)
        out.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{html_text(name)}</text>')
        for number, part in enumerate(parts):
            value = row.get(part, 0)
            width = value * scale
            if value > 0:
                says = f"{name}, {part}: {_number(value)} {unit}"
                out.append(_bar(x, y, width, 22, number, says))
            if len(parts) > 1 and width > 8 + 7 * len(_number(value)):
                place = f'x="{x + width / 2:.1f}" y="{y + 15}" text-anchor="middle"'
                on_dark = COLOURS[number % len(COLOURS)] in DARK
                out.append(f'<text {place} class="v{" w" if on_dark else ""}">{_number(value)}</text>')
            x += width
        whole = f"{_number(sum(row.values()))} {html_text(unit)}"
        out.append(f'<text x="{x + 6:.1f}" y="{y + 16}" class="s">{whole}</text>')
        y += 30
    return _svg(title, WIDTH, y + 4, out)


def lines(title: str, x_says: str, y_says: str, rows: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return one line for each row of (x, y); both axes are logarithmic, x of 0 stands at the left edge."""
    points = [point for row in rows.values() for point in row]
    if not points:
        return ""
    across = _Axis([x for x, _ in points], LEFT - 80, WIDTH - 20)
    up = _Axis([y for _, y in points], 330, 72)
    out = [f'<text x="0" y="16" class="h">{html_text(title)}</text>', _legend(list(rows), 26)]
    for value in up.ticks:
        y = up.at(value)
        out.append(f'<line x1="{LEFT - 80}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" class="g"/>')
        out.append(f'<text x="{LEFT - 86}" y="{y + 4:.1f}" text-anchor="end" class="s">{_number(value)}</text>')
    for value in across.ticks:
        out.append(f'<text x="{across.at(value):.1f}" y="348" text-anchor="middle" class="s">{_number(value)}</text>')
    out.append(f'<text x="{WIDTH - 20}" y="366" text-anchor="end" class="s">{html_text(x_says)}</text>')
    out.append(f'<text x="0" y="54" class="s">{html_text(y_says)}</text>')
    for number, (name, row) in enumerate(rows.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in row)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in row:
            says = f"{name}: {_number(x)} {x_says}, {_number(y)} {y_says}"
            spot = f'<circle cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="4" fill="{colour}">'
            out.append(f"{spot}<title>{html_text(says)}</title></circle>")
    return _svg(title, WIDTH, 372, out)


def timeline(title: str, unit: str, seconds: float, rows: Mapping[str, Sequence[float]]) -> str:
    """Return stacked columns over time; every row has one value for each slice of ``seconds``."""
    count = max((len(row) for row in rows.values()), default=0)
    totals = [sum(row[i] for row in rows.values() if i < len(row)) for i in range(count)]
    most = max(totals, default=0)
    if not most:
        return ""
    out = [f'<text x="0" y="16" class="h">{html_text(title)}</text>', _legend(list(rows), 26)]
    left, width, bottom, height = 70, WIDTH - 90, 260, 190
    step = width / count
    for i in range(count):
        y = float(bottom)
        for number, (name, row) in enumerate(rows.items()):
            value = row[i] if i < len(row) else 0
            if value:
                tall = value * height / most
                y -= tall
                says = f"{name}, {i * seconds:g} to {(i + 1) * seconds:g} s: {_number(value)} {unit}"
                out.append(_bar(left + i * step, y, max(step - 0.5, 0.5), tall, number, says))
    for share in (0, 0.5, 1):
        y = bottom - share * height
        out.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" class="g"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end" class="s">{_number(most * share)}</text>')
        x = left + share * width
        place = f'x="{x}" y="{bottom + 18}" text-anchor="middle"'
        out.append(f'<text {place} class="s">{count * seconds * share:.3g} s</text>')
    out.append(f'<text x="0" y="54" class="s">{html_text(unit)} in each {seconds:.3g} s</text>')
    return _svg(title, WIDTH, bottom + 26, out)


class _Axis:
    """A logarithmic axis between two pixels, with whole powers of ten (or of two, where there is one decade) on it."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self._zero = any(value <= 0 for value in values)
        base = 10 if max(positive) / min(positive) > 100 else 2
        low, high = math.floor(math.log(min(positive), base)), math.ceil(math.log(max(positive), base))
        high = max(high, low + 1)
        self.ticks = [float(base**power) for power in range(low, high + 1)]
        self._low, self._high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        room = (last - first) * 0.08 if self._zero else 0
        self._start, self._first, self._last = first, first + room, last
        if self._zero:
            self.ticks.insert(0, 0.0)

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        if value <= 0:
            return self._start
        share = (math.log(value) - self._low) / (self._high - self._low)
        return self._first + share * (self._last - self._first)


def _legend(names: Sequence[str], y: float) -> str:
    x, out = 0.0, []
    for number, name in enumerate(names):
        out.append(f'<rect x="{x:.0f}" y="{y}" width="11" height="11" rx="2" fill="{COLOURS[number % len(COLOURS)]}"/>')
        out.append(f'<text x="{x + 16:.0f}" y="{y + 10}" class="s">{html_text(name)}</text>')
        x += 30 + 6.4 * len(name)
    return "".join(out)


def _bar(x: float, y: float, width: float, height: float, number: int, says: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{COLOURS[number % len(COLOURS)]}"><title>{html_text(says)}</title></rect>'


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:,.3g} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _svg(title: str, width: int, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img"'
    return f'{head} aria-label="{html_text(title)}"><style>{STYLE}</style>{"".join(parts)}</svg>'
