"""Many devices, rare small messages, keep-alive.

``locust -f fleet_tracker.py -H URL``; ``mqproof load fleet-tracker`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("fleet-tracker")
