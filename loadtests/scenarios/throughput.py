"""How much goes through, with every guarantee on and every message accounted for.

``locust -f throughput.py -H URL``; ``mqproof load throughput`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("throughput")
