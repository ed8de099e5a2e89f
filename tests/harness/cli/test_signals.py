"""Ctrl-C and SIGTERM end every command in the same way: exit code 130, no traceback, and nothing is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mqproof.harness.crash.load import wait_for

pytestmark = pytest.mark.whole_run
COMMANDS = {
    "load": ("load", "throughput", "embedded-mqtt", "--duration", "60", "--rate", "50"),
    "load by workers": ("load", "throughput", "embedded-mqtt", "--duration", "60", "--processes", "2"),
    "welcome-email": ("load", "welcome-email", "embedded-amqp", "--duration", "60"),
    "faults": ("faults", "run", "--fault", "suback-reversed", "--fault", "suback-with-wrong-id"),
    "crash": ("crash", "embedded-mqtt", "--rounds", "3"),
    "stability": ("stability", "embedded-mqtt", "--suite", "mqtt", "--runs", "2"),
}

PYTEST = ("faults", "stability")  # whose workers may say where they were interrupted while they started


def below(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize(
    ("name", "how"),
    [*((name, signal.SIGTERM) for name in COMMANDS),
     *((name, signal.SIGINT) for name in COMMANDS if name not in PYTEST)],
)  # fmt: skip
def test_a_signal_ends_a_command_in_good_order(name: str, how: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group, SIGTERM the command alone."""
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "mqproof.harness.cli", *COMMANDS[name]]
    with subprocess.Popen(
        command, cwd=work, env=environment, start_new_session=True, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert wait_for(lambda: len(below(process)) > 1, 60)
        there = below(process)
        if how is signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        told, said = process.communicate(timeout=120)
    assert process.returncode == 130, told + said
    assert not [word for word in ("Traceback", "Warning", "Exception ignored") if word in told + said], told + said
    assert wait_for(lambda: not any(each.is_running() for each in there), 30), there
    assert list(temporary.iterdir()) == []
