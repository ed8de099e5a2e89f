"""What confirms, persistence and quorum cost.

``locust -f durability_cost.py -H URL``; ``mqproof load durability-cost`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("durability-cost")
