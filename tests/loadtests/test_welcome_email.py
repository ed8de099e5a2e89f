"""The registration scenario's own clock; what it measures is tested with the other scenarios."""

import subprocess
import sys

# In a process of its own: gevent patches the standard library.
STOPPED = """
from gevent import monkey
monkey.patch_all()
from mqproof.loadtests.scenarios.welcome_email import WelcomeEmail
from mqproof.loadtests.settings import Settings

scenario = WelcomeEmail(Settings("welcome-email", "mqtt://localhost"))
scenario.close_counter()
closed = scenario.book.stopped
assert closed is not None
scenario.stop()
assert scenario.book.stopped == closed
"""


def test_time_of_publishing_ends_when_nobody_may_publish_any_more() -> None:
    """Not when Locust has ended its users: seconds later, in which the rate of publishing would sink."""
    command = [sys.executable, "-P", "-c", STOPPED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
