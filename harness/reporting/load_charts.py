"""The pictures of a load: throughput, latency, depth and memory over time, each stage with its own."""

from collections.abc import Iterator
from typing import Any

from mqproof.harness.reporting.svg_lines import lines

CHARTS = (  # title, unit, divisor, whether by second, and the timeline's keys
    ("Throughput", "messages/s", 1.0, True, ("published", "delivered")),
    ("Latency end to end", "ms", 1e3, False, ("p50_us", "p99_us")),
    ("Depth of queues", "messages", 1.0, False, ("depth",)),
    ("Memory", "MB", 1e6, False, ("broker_memory", "our_memory")),
    ("Processor", "cores", 1.0, False, ("broker_cpu", "our_cpu")),
)


def charts(load: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and SVG of each picture that there are numbers for."""
    for stage in load.get("stages", ()):
        rows = stage.get("timeline", ())
        for title, unit, divisor, by_second, keys in CHARTS:
            shown = [
                (key.removesuffix("_us").replace("_", " "),
                 [(row["s"], row[key] / divisor / (row["seconds"] if by_second else 1.0))
                  for row in rows if row.get(key) is not None])
                for key in keys
            ]  # fmt: skip
            if picture := lines(f"{title}, {stage['stage']}", unit, shown):
                yield f"{title}, {stage['stage']}", picture
