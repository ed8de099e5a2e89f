"""Add workers, get throughput.

``locust -f scale_out.py -H URL``; ``mqproof load scale-out`` shows more.
"""

from gevent import monkey

monkey.patch_all()

from mqproof.loadtests.scenarios.locusting import locust_file  # noqa: E402

Publishers = locust_file("scale-out")
