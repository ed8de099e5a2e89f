"""A crashed worker's task goes to another.

``locust -f worker_crash.py -H URL``; ``mqproof load worker-crash`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("worker-crash")
