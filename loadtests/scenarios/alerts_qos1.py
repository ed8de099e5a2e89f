"""At least once.

``locust -f alerts_qos1.py -H URL``; ``mqproof load alerts-qos1`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("alerts-qos1")
