"""Error, warning and info go to their queues.

``locust -f log_routing.py -H URL``; ``mqproof load log-routing`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("log-routing")
