"""What a member gets to see of a request, and what a log of it, behind each balancer."""

from __future__ import annotations

import http.client
import json
import sys
from typing import Any

import pytest

from tests.cluster.bridge import network
from tests.cluster.namespaces import Namespace, run
from tests.cluster.processes import Processes
from tests.deployment.running import KINDS, Kind, addresses_of, balancer, need

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

ECHO = """
import http.server, json
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        told = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Echo)
print("runs", flush=True)
server.serve_forever()
"""
ASK = """
import http.client, json, sys
method, path, headers = json.load(sys.stdin)
connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=20)
connection.request(method, path, headers=headers)
response = connection.getresponse()
print(json.dumps([response.status, response.read().decode()]))
"""
TOKEN = "AYrLiXR4uUMNb5x1j2wuHCSD83j0oXgDvBYpMB4.6oFnJ3VM1OcApjSMDIai9U.EAe977d"
PATHS = (
    f"/;jsessionid={TOKEN}",
    f"/cart;jsessionid={TOKEN}?page=2",
    f"/a%2Fb;v=1/c%20d;jsessionid={TOKEN}?q=%3Bx;y&z=%2F",
    f"/login?next=%2Fcart%3Bjsessionid%3D{TOKEN}",
    f"/;JSESSIONID={TOKEN}/two;jsessionid={TOKEN}",
    "/plain;a=1;b=2/x?y",
)


def ask(client: Namespace, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    """Ask the balancer on the client's own host."""
    command = (*client.prefix, sys.executable, "-I", "-S", "-c", ASK)
    status, text = json.loads(run(*command, stdin=json.dumps(["GET", path, headers])))
    return status, json.loads(text) if status == http.client.OK else text


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_paths_and_addresses_arrive_and_no_token_is_logged(kind: Kind) -> None:
    need(kind.program)
    sent = {
        "Host": "shop.example:8443",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "Referer": f"http://shop.example/;jsessionid={TOKEN}",
    }
    with network(2) as net, Processes() as processes:
        for host in net.hosts:
            echo = processes.python("-c", ECHO, name="echo", prefix=host.prefix)
            echo.output.wait_for("^runs$")
        with balancer(kind, net.client, addresses_of(net)) as through:
            answers = [ask(net.client, path, sent) for path in PATHS]
            hidden, _ = ask(net.client, "/readyz", {})
            through.process.stop()
            log = through.access_log
    assert [status for status, _ in answers] == [200] * len(PATHS)
    assert [told["path"] for _, told in answers] == list(PATHS)
    for _, told in answers:
        headers = told["headers"]
        assert headers["host"] == sent["Host"]
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-forwarded-proto"] == "http"
        assert headers.get("connection", "keep-alive").lower() != "close"
    assert hidden == 404
    assert "/cart;jsessionid=***" in log
    assert "/plain;a=1;b=2/x?y" in log
    assert TOKEN[:12] not in log
