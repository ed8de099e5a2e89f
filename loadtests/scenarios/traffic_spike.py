"""Spikes are absorbed.

``locust -f traffic_spike.py -H URL``; ``mqproof load traffic-spike`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("traffic-spike")
