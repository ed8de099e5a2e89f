"""Connections held, and what each costs the broker.

``locust -f idle_connections.py -H URL``; ``mqproof load idle-connections`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("idle-connections")
