"""Everyone comes back at once.

``locust -f connect_storm.py -H URL``; ``mqproof load connect-storm`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("connect-storm")
