"""Exactly once.

``locust -f billing_qos2.py -H URL``; ``mqproof load billing-qos2`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("billing-qos2")
