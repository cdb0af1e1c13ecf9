"""Has the executor call a cloud service, which is here, and step the simulated world."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

from ecps_msgs.msg import CloudOp, EapAction, SimStep
from rosgraph_msgs.msg import Clock

from execute import Code, Executor
from peer import expect, expect_equal, run


class Service(BaseHTTPRequestHandler):
    asked = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Service.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        status, answer = (200, b'{"eta": 12}') if self.path == "/v1/lift/call" else (404, b"no such method")
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


def scenario(peer):
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    clocks = peer.listen(Clock, "/clock")
    executor = Executor(peer)

    def cloud(api, method, payload=b'{"floor": 3}', oauth2=False):
        op = CloudOp(api_name=api, method_name=method, json_payload=list(payload), requires_oauth2=oauth2)
        return {"kind": EapAction.KIND_CLOUD, "cloud": op}

    result = executor.succeeds(**cloud("lift", "call"))
    expect_equal(json.loads(bytes(result.answer)), {"eta": 12}, "the answer")
    path, headers, body = Service.asked[-1]
    expect_equal((path, body), ("/v1/lift/call", b'{"floor": 3}'), "what was asked")
    expect("authorization" not in headers, "the token went along unasked")
    executor.succeeds(**cloud("lift", "call", oauth2=True))
    expect_equal(Service.asked[-1][1]["authorization"], "Bearer s3cret", "the token")
    executor.refuses(Code.FAILED, "404", "no such method", **cloud("lift", "fly"))
    calls = len(Service.asked)
    executor.refuses(Code.INVALID, "cloud.api_name", **cloud("../admin", "call"))
    executor.refuses(Code.INVALID, "JSON", **cloud("lift", "call", b"{"))
    executor.refuses(Code.INVALID, "65536", **cloud("lift", "call", b'"' + b"x" * 70000 + b'"'))
    expect_equal(len(Service.asked), calls, "calls of a refused action")

    sim = lambda **op: {"kind": EapAction.KIND_SIM, "sim": SimStep(**op)}
    expect(not clocks, "a paused world has a time that goes on")
    times = lambda: [clock.clock.sec * 10**9 + clock.clock.nanosec for clock in clocks]
    passed = 0
    while not clocks:
        # The world may know of this listener later than this listener of the world.
        expect(passed < 5 * 10**9, "no step of the world is heard on /clock")
        executor.succeeds(**sim(duration_s=0.5))
        passed += 500_000_000
        end = time.monotonic() + 2.0
        while not clocks and time.monotonic() < end:
            peer.spin()
    peer.wait_until(lambda: times()[-1] == passed, "half a second for each")
    clocks.clear()
    executor.succeeds(**sim(duration_s=0.5, physics_steps=5))
    peer.wait_until(lambda: times()[-1:] == [passed + 500_000_000], "half a second more")
    expect_equal(times(), [passed + step * 100_000_000 for step in range(1, 6)], "its steps")
    executor.refuses(Code.INVALID, "sim.duration_s", **sim(duration_s=float("nan")))
    executor.refuses(Code.FAILED, "number of steps", **sim(duration_s=3600.0))


run(scenario)
