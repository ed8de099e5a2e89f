"""One publisher, N subscribers.

``locust -f fan_out.py -H URL``; ``mqproof load fan-out`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("fan-out")
