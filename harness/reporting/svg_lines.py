"""Numbers over time as lines, without scripts."""

from collections.abc import Sequence

from mqproof.harness.printable import html_text

WIDTH, HEIGHT, LEFT, TOP = 640, 200, 80, 28
COLOURS = ("#2a6fb0", "#b5541c", "#2f855a", "#805ad5")
STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#223}.h{font-weight:bold}.g{stroke:#99a;stroke-width:.5}"
    "@media(prefers-color-scheme:dark){text{fill:#dde}}"
)
Line = tuple[str, Sequence[tuple[float, float]]]  # name; points of seconds and value


def lines(title: str, unit: str, shown: Sequence[Line]) -> str:
    """Return the lines as one picture; empty text where none has two points."""
    drawn = [(name, points) for name, points in shown if len(points) > 1]
    if not drawn:
        return ""
    top = max(value for _, points in drawn for _, value in points) or 1.0
    last = max(moment for _, points in drawn for moment, _ in points) or 1.0
    parts: list[str] = [f'<text x="0" y="14" class="h">{html_text(title)} ({html_text(unit)})</text>']
    for share in (0.0, 0.5, 1.0):
        at = round(TOP + HEIGHT * (1 - share))
        parts.append(f'<line x1="{LEFT}" y1="{at}" x2="{LEFT + WIDTH}" y2="{at}" class="g"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{top * share:,.4g}</text>')
    for index, (name, points) in enumerate(drawn):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(
            f"{LEFT + WIDTH * moment / last:.1f},{TOP + HEIGHT * (1 - value / top):.1f}" for moment, value in points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        x, y = LEFT + 150 * index, TOP + HEIGHT + 34
        parts.append(f'<text x="{x}" y="{y}" style="fill:{colour}">{html_text(name)}</text>')
    parts.append(f'<text x="{LEFT + WIDTH}" y="{TOP + HEIGHT + 16}" text-anchor="end">{last:.4g} s</text>')
    width, height = LEFT + WIDTH + 20, TOP + HEIGHT + 44
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return f"{head}<style>{STYLE}</style>{''.join(parts)}</svg>"
