"""A statistics endpoint may be anything: it answers counters or makes an error, and a login goes nowhere else."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import HTTPError

import pytest
from mqproof.loadtests.counters import from_url

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def answering(answer: Answer) -> Iterator[int]:
    """An HTTP server on loopback; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def says(document: object) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(document if isinstance(document, bytes) else json.dumps(document).encode())

    return answer


def test_a_login_goes_to_its_own_server_only() -> None:
    """A redirect takes the header along."""
    heard: list[str | None] = []

    def elsewhere(handler: http.server.BaseHTTPRequestHandler) -> None:
        heard.append(handler.headers["Authorization"])
        says({})(handler)

    with answering(elsewhere) as other:

        def away(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", f"http://127.0.0.1:{other}/stolen")
            handler.end_headers()

        with answering(away) as port, pytest.raises(HTTPError):
            from_url(f"http://me:secret@127.0.0.1:{port}/metrics")
    assert heard == []


def garbage(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0\r\n\r\n")


def test_what_is_no_http_is_a_value_error() -> None:
    with answering(garbage) as port, pytest.raises(ValueError, match="no HTTP"):
        from_url(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("document", [[], 1, None, {}, {"object_totals": 1}, b"no JSON", {"object_totals": {}}])
def test_what_is_no_management_is_a_value_error(document: object) -> None:
    with answering(says(document)) as port, pytest.raises(ValueError, match=r"no HTTP|not as RabbitMQ|Expecting"):
        from_url(f"http://127.0.0.1:{port}")


def test_the_management_s_counters() -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        overview = {"object_totals": {"connections": 2}, "queue_totals": {"messages": 3}}
        says([{"mem_used": 4}, {"mem_used": 5}] if handler.path == "/api/nodes" else overview)(handler)

    with answering(answer) as port:
        found = from_url(f"http://127.0.0.1:{port}/")
    assert found == {"connections": 2.0, "depth": 3.0, "broker_memory": 9.0, "dropped": 0.0}


def test_prometheus_sums_what_several_lines_say() -> None:
    text = b"# HELP x\nrabbitmq_queue_messages{queue=\"a\"} 2\nrabbitmq_queue_messages{queue=\"b\"} 3\nother 9\n"
    with answering(says(text)) as port:
        assert from_url(f"http://127.0.0.1:{port}/metrics") == {"depth": 5.0}
