"""The four exchange types and what they cost.

``locust -f exchange_cost.py -H URL``; ``mqproof load exchange-cost`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("exchange-cost")
