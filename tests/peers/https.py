"""Two HTTPS services, each with a certificate of its own, and what four robots make of them."""

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from ecps_msgs.msg import CloudOp, EapAction

from execute import Code, Executor
from peer import expect_equal, run


class Service(BaseHTTPRequestHandler):
    asked = []

    def do_POST(self):
        Service.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"tls": self.connection.version()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


def serve(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HTTPServer(("127.0.0.1", 0), Service)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    # A handshake that the client breaks off is what is asked for here.
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def scenario(peer):
    print("ports", *(serve(certificate) for certificate in sys.argv[1:]), flush=True)
    call = {
        "kind": EapAction.KIND_CLOUD,
        "cloud": CloudOp(api_name="lift", method_name="call", json_payload=list(b"{}")),
    }
    robots = [Executor(peer, f"/robot{nth}/eap_executor/execute") for nth in range(1, 5)]
    right, foreign, public, other_name = robots
    answer = json.loads(bytes(right.succeeds(**call).answer))
    expect_equal(answer, {"tls": "TLSv1.3"}, "how it was asked")
    foreign.refuses(Code.FAILED, "invalid peer certificate", **call)
    public.refuses(Code.FAILED, "UnknownIssuer", **call)
    other_name.refuses(Code.FAILED, "not valid for name", **call)
    expect_equal(len(Service.asked), 1, "how many calls came through")
    print("asked them all", flush=True)


run(scenario)
