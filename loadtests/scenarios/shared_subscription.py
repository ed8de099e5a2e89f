"""Subscribers share the messages of one subscription.

``locust -f shared_subscription.py -H URL``; ``mqproof load shared-subscription`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("shared-subscription")
