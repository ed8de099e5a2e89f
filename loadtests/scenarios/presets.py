"""The names under which the MQTT world compares brokers, as scenarios: of these sizes or of any other.

``p2p-PUBLISHERS-SUBSCRIBERS-TOPICS-RATE``, ``fanout-PUBLISHERS-SUBSCRIBERS-TOPICS-RATE`` and ``sharedsub-…`` and
``fanin-…`` alike (RATE: messages delivered per second, of all together), ``conn-tcp-CONNECTIONS-PER_SECOND``.
"""

import re
from typing import Any

EXAMPLES = (
    "p2p-1K-1K-1K-1K", "fanout-1-1k-1-1K", "fanin-1k-1-1k-1K", "sharedsub-1K-5-1K-1K", "conn-tcp-10k-100",
)  # fmt: skip
NAME = re.compile(r"(p2p|fanout|fanin|sharedsub|conn-tcp)((?:-\d+(?:\.\d+)?[km]?)+)")
TIMES = {"k": 1_000, "m": 1_000_000}
PAYLOAD = 28  # octets: the smallest that says who sent it and when; the benchmark's 16 have no room for that
MOST_DIGITS = 12


def preset(name: str, scale: float = 1.0) -> tuple[str, dict[str, Any]] | None:
    """Return the scenario and the settings that a benchmark's name means, times ``scale``; None for other names."""
    match = NAME.fullmatch(name.lower())
    if match is None or len(match[2]) > 5 * MOST_DIGITS:
        return None
    sizes = [_scaled(text, scale) for text in match[2][1:].split("-")]
    if len(sizes) != (2 if match[1] == "conn-tcp" else 4):
        return None
    common = {"payload": PAYLOAD, "qos": 1}
    if match[1] == "conn-tcp":
        return "idle-connections", {**common, "qos": 0, "users": _whole(sizes[0]), "connect_rate": sizes[1]}
    publishers, subscribers, _, rate = sizes
    if match[1] == "p2p":
        return "p2p", {**common, "users": _whole(publishers), "rate": rate}
    if match[1] == "fanin":
        return "home-telemetry", {**common, "users": _whole(publishers), "rate": rate}
    if match[1] == "fanout":
        workers = _whole(subscribers)
        return "fan-out", {**common, "workers": workers, "rate": rate / workers}
    sharing = max(2, _whole(subscribers))  # of one alone nothing is shared
    return "shared-subscription", {**common, "users": _whole(publishers), "workers": sharing, "rate": rate}


def _scaled(text: str, scale: float) -> float:
    number, factor = (text[:-1], TIMES[text[-1]]) if text[-1] in TIMES else (text, 1)
    value = float(number) * factor
    return value * scale if value > 1 else value


def _whole(value: float) -> int:
    return max(1, round(value))
