"""A Prometheus endpoint while load runs: what was meant to happen beside what does."""

import math
from typing import Any

from gevent.pywsgi import WSGIServer
from mqproof.loadtests.engine.running import Engine

TYPE = "text/plain; version=0.0.4; charset=utf-8"


def serve(engine: Engine, port: int, host: str = "127.0.0.1") -> Any:
    """Serve ``/metrics`` until ``stop`` is called on what is returned. Raises OSError where the port is taken."""

    def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", TYPE)])
        return [text(engine).encode()]

    server = WSGIServer((host, port), answer, log=None)
    server.start()
    return server


def text(engine: Engine) -> str:
    """Return all metrics as Prometheus reads them. Rates in messages per second, memory in octets."""
    totals, traffic = engine.totals, engine.traffic
    lines: list[str] = []

    def add(name: str, kind: str, says: str, value: float | None) -> None:
        if value is not None and math.isfinite(value):
            full = f"mqproof_{name}"
            lines.extend((f"# HELP {full} {says}", f"# TYPE {full} {kind}", f"{full} {value:.12g}"))

    add("expected_rate", "gauge", "messages per second that are meant to be published, 0 for all it takes",
        engine.expected_rate if traffic is not None else None)
    add("published_total", "counter", "messages published in this stage", totals.published)
    add("received_total", "counter", "different copies that have arrived in this stage", totals.received)
    add("expected_total", "counter", "copies that the broker owes for what was published", totals.copies)
    add("outstanding", "gauge", "messages that wait for a confirm", totals.outstanding)
    add("blocked_publishers", "gauge", "publishers that the broker holds back", totals.blocked)
    for name, says in (
        ("broker_cpu", "processor cores that the broker uses"), ("broker_memory", "memory of the broker"),
        ("depth", "messages in our queues"), ("connections", "connections of the broker"),
    ):  # fmt: skip
        add(name, "gauge", says, engine.watch.now.get(name))
    return "\n".join(lines) + "\n"
