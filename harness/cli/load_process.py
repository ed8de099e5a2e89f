"""The process that loads: gevent patches the standard library, which must not happen to anything else."""

import json
import signal
import subprocess
import sys
from typing import Any, NoReturn

from mqproof.harness.cli.codes import UNREACHABLE, USAGE
from mqproof.harness.targets.errors import Unreachable
from mqproof.loadtests.settings import BadSettings, Settings

GRACE = 120.0  # seconds beyond the duration for connecting, draining and removing
LONGEST = 10 * 86_400.0  # seconds that are waited for; a run that is meant to be longer goes on until Ctrl-C
WORKERS_GRACE = 3600.0  # for workers and for somebody at the web UI


class LoadFailed(Exception):
    """The load process could not do its work; one line."""


def run_process(settings: Settings) -> dict[str, Any]:
    """Run the load process. On Ctrl-C it gets the signal, too, and ends by itself with the results so far.

    Raises BadSettings where the broker or its protocol cannot do what is asked for, Unreachable where the broker is
    gone or refuses this user, and LoadFailed.
    """
    command = [sys.executable, "-m", "mqproof.loadtests.runner"]
    grace = GRACE if settings.role == "local" and not settings.web_port else WORKERS_GRACE
    if settings.connect_rate:
        grace += (settings.users + settings.workers + settings.queues) / settings.connect_rate
    errors = None if settings.show_progress or settings.web_port else subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:
        try:
            told = json.dumps(settings.plain()) + "\n"
            seconds = settings.duration + grace
            output, said = _communicate(process, told, seconds if seconds < LONGEST else None)
        except subprocess.TimeoutExpired:
            process.kill()
            raise LoadFailed(f"the load process did not end {grace:.0f} s after its time") from None
    if settings.role == "worker" and process.returncode == 0:
        return {}
    if process.returncode != 0 or not output:
        _raise(process.returncode, output, said)
    result: dict[str, Any] = json.loads(output)
    return result


def _raise(code: int, output: str, said: str | None) -> NoReturn:
    """Raise what a load process that failed has told instead of a result, or said before it fell."""
    if output:
        told = str(json.loads(output)["failed"])
        if code == UNREACHABLE:
            raise Unreachable(told)
        raise BadSettings(told) if code == USAGE else LoadFailed(f"the load process failed: {told}")
    last = (said or "").strip().splitlines()[-1:] or [f"it ended with {code} and without a word"]
    raise LoadFailed(f"the load process failed: {last[0]}")


def _communicate(process: "subprocess.Popen[str]", text: str, seconds: float | None) -> tuple[str, str]:
    try:
        return process.communicate(text, timeout=seconds)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # it was perhaps only us who were asked to end
        output, said = process.communicate(timeout=GRACE)
        if not output:
            raise  # it was interrupted before it had begun
        return output, said
