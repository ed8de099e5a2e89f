"""How long the Allure page of 5,000 results takes, a tenth of them failed with evidence.

    python tests/benchmarks/bench_report.py [COUNT]
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from mqproof.harness.reporting.allure import Reported, render
from mqproof.harness.reporting.svg import sequence
from mqproof.harness.run import Run

COUNT = int((sys.argv[1:2] or ["5000"])[0])
BUDGET = 20.0  # seconds for 5,000
LINES = [{"ms": float(n), "direction": "<>"[n % 2], "text": f"basic.publish {n} " + "x" * 60} for n in range(30)]


def write(folder: Path, number: int) -> None:
    """Write one result, every tenth of which failed and has two attachments."""
    failed = number % 10 == 0
    labels = {"epic": "AMQP 0-9-1", "feature": f"section {number % 40}", "story": f"statement {number % 400}",
              "target": "broker", "severity": "critical", "verdict": "deviates" if failed else "conforms"}  # fmt: skip
    attachments = []
    if failed:
        for suffix, kind, text in (
            ("svg", "image/svg+xml", sequence([{"title": "wire", "started": 0.0, "lines": LINES}])),
            ("txt", "text/plain", "\n".join(str(line) for line in LINES)),
        ):
            source = f"{number}-attachment.{suffix}"
            (folder / source).write_text(text)
            attachments.append({"name": suffix, "type": kind, "source": source})
    result = {
        "uuid": str(number), "historyId": str(number), "name": f"test_{number}", "stage": "finished",
        "status": "failed" if failed else "passed", "start": 1000 * number, "stop": 1000 * number + 5,
        "labels": [{"name": name, "value": value} for name, value in labels.items()], "attachments": attachments,
    }  # fmt: skip
    (folder / f"{number}-result.json").write_text(json.dumps(result))


def main() -> int:
    """Render and print the seconds; exit code 1 beyond the budget."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = {"name": "broker", "url": "amqp://b:1", "protocol": "amqp", "product": "P", "version": "1"}
        run = Run(targets=[target | {"capabilities": []}])
        run.save(folder)
        (folder / "allure-results").mkdir()
        for number in range(COUNT):
            write(folder / "allure-results", number)
        render([Reported(run, folder)], folder / "warm.html")  # Allure is installed on first use
        started = time.monotonic()
        render([Reported(run, folder)], folder / "report.html")
        took = time.monotonic() - started
        size = (folder / "report.html").stat().st_size / 1e6
    sys.stdout.write(f"{COUNT:,} results: {took:.1f} s, a page of {size:.1f} MB\n")
    return int(took > BUDGET * COUNT / 5000)


if __name__ == "__main__":
    sys.exit(main())
