"""A site that tells what it got, behind the guard for WSGI: `wsgi.py PORT`, or `wsgi:site` for a server of others."""

import json
import os
import sys

from testudo_gate import Gate
from testudo_gate.wsgi import Guard


def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    told = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else ""),
        "body": body.decode("latin-1"),
        "outcome": environ.get("HTTP_X_TESTUDO_OUTCOME"),
        "forged": environ.get("HTTP_X_TESTUDO_SCENARIO") or environ.get("HTTP_X_TESTUDO_NEW"),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


site = Guard(app, Gate(os.environ["TESTUDO_GATE"], fail=os.environ["TESTUDO_GATE_FAIL"]))

if __name__ == "__main__":
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIServer, make_server

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    make_server("127.0.0.1", int(sys.argv[1]), site, Server).serve_forever()
