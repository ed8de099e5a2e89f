"""Pairs of publisher and subscriber.

``locust -f p2p.py -H URL``; ``mqproof load p2p`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("p2p")
