"""Thousands of sensors, one dashboard.

``locust -f home_telemetry.py -H URL``; ``mqproof load home-telemetry`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("home-telemetry")
