"""Guards, called as servers call them. Whole sites behind real servers are in tests/clients/run."""

import asyncio
import io
import logging
import os
import socket
import unittest
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from test_vectors import VECTORS

from testudo_gate import Gate, asgi, wsgi

logging.getLogger("testudo_gate").addHandler(logging.NullHandler())
logging.getLogger("testudo_gate").propagate = False

STAND_IN = os.environ.get("TESTUDO_STAND_IN")
GATE = os.environ.get("TESTUDO_GATE")
OWN = "/.well-known/testudo/answer"


def ask_wsgi(gate, proxies=(), **environ):
    """Status, headers and body; and what the application saw."""
    seen = {}

    def app(environ, start_response):
        seen.update(environ, body=environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"site"]

    told = {}
    body = environ.pop("body", b"")
    given = {"REMOTE_ADDR": "192.0.2.9", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "", "wsgi.input": io.BytesIO(body), **environ}
    if body:
        given["CONTENT_LENGTH"] = str(len(body))
    setup_testing_defaults(given)

    def start_response(status, headers, exc_info=None):
        told.update(status=int(status[:3]), headers=dict(headers))

    parts = validator(wsgi.Guard(app, gate, proxies))(given, start_response)
    told["body"] = b"".join(parts)
    parts.close()
    return told, seen


def ask_asgi(gate, proxies=(), messages=None, kind="http", headers=(), **scope):
    seen, sent = {}, []
    messages = list(messages or [{"type": "http.request", "body": b""}])

    async def app(scope, receive, send):
        seen.update(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"site"})

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    given = {"type": kind, "method": "GET", "path": "/", "query_string": b"", "client": ("192.0.2.9", 1), "scheme": "http"}
    given["server"] = ("127.0.0.1", 80)
    given["headers"] = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    asyncio.run(asgi.Guard(app, gate, proxies)({**given, **scope}, receive, send))
    return sent, seen


class Questions(unittest.TestCase):
    def test_what_the_gate_would_not_take(self):
        # Nobody listens: what is sent is a failure, by which everybody passes.
        gate = Gate("127.0.0.1:1", fail="open")
        for kind, size in [("cookies", "length"), ("headers", "count")]:
            for case in VECTORS["questions"][kind]:
                headers = [("Cookie", "a" * case[size])] if kind == "cookies" else [(f"Accept-{n}", "x") for n in range(case[size])]
                status = 200 if case["is_sent"] else 403
                environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers}
                self.assertEqual(ask_wsgi(gate, **environ)[0]["status"], status, case)
                self.assertEqual(ask_asgi(gate, headers=headers)[0][0]["status"], status, case)


@unittest.skipUnless(STAND_IN, "no TESTUDO_STAND_IN")
class Faults(unittest.TestCase):
    def wsgi(self, fail, place, host, path="/", method="GET"):
        gate = Gate(place, fail=fail, timeout=0.3)
        return ask_wsgi(gate, HTTP_HOST=host, PATH_INFO=path, REQUEST_METHOD=method)[0]["status"]

    def asgi(self, fail, place, host, path="/", method="GET"):
        gate = Gate(place, fail=fail, timeout=0.3)
        return ask_asgi(gate, headers=[("host", host)], path=path, method=method)[0][0]["status"]

    def test_faults(self):
        for ask in [self.wsgi, self.asgi]:
            self.assertEqual(ask("closed", STAND_IN, "ok.fault"), 200)
            for fault in VECTORS["faults"]:
                with self.subTest(fault, ask=ask.__name__):
                    place = "127.0.0.1:1" if fault == "refuse" else STAND_IN
                    self.assertEqual(ask("closed", place, f"{fault}.fault"), 503)
                    self.assertEqual(ask("open", place, f"{fault}.fault"), 200)
                    self.assertEqual(ask("open", STAND_IN, f"page-{fault}.fault"), 403)
                    # What is whole is handed on: these two are wrong in their words only.
                    wanted = {"html": 200, "utf8": 200, "error": 500}.get(fault, 503)
                    self.assertEqual(ask("open", place, f"{fault}.fault", OWN, "POST"), wanted)


@unittest.skipUnless(GATE, "no TESTUDO_GATE")
class RealGate(unittest.TestCase):
    def setUp(self):
        self.gate = Gate(GATE, fail="closed")

    def test_wsgi(self):
        told, seen = ask_wsgi(self.gate, body=b"a=b", REQUEST_METHOD="POST", HTTP_X_TESTUDO_OUTCOME="allowed", HTTP_X_TESTUDO_NEW="x")
        self.assertEqual((told["status"], seen["body"], seen["HTTP_X_TESTUDO_OUTCOME"]), (200, b"a=b", "clean"))
        self.assertNotIn("HTTP_X_TESTUDO_NEW", seen)
        self.assertEqual(seen["testudo.verdict"].outcome, "clean")
        told, seen = ask_wsgi(self.gate, REMOTE_ADDR="192.0.2.10", HTTP_ACCEPT="text/html", HTTP_ACCEPT_LANGUAGE="de")
        self.assertEqual((told["status"], seen, "Zugriff verweigert" in told["body"].decode()), (403, {}, True))
        told, _ = ask_wsgi(self.gate, REMOTE_ADDR="192.0.2.10", REQUEST_METHOD="HEAD")
        self.assertEqual((told["status"], told["body"]), (403, b""))

    def test_wsgi_proxies(self):
        claim = {"HTTP_X_FORWARDED_FOR": "192.0.2.9, 192.0.2.10"}
        at, far = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_INET)
        self.addCleanup(at.close)
        self.addCleanup(far.close)
        for peer, proxies, more, status in [
            ("127.0.0.1", ["127.0.0.1"], {}, 403),
            ("127.0.0.1", [], {}, 200),
            ("unix:", ["unix"], {}, 403),
            ("unix:", [], {}, 500),
            ("", ["unix"], {"gunicorn.socket": at}, 403),
            # A peer of whom nothing is known is no proxy.
            ("", ["unix"], {"gunicorn.socket": far}, 500),
            ("", ["unix"], {}, 500),
            ("", [], {}, 500),
        ]:
            environ = {"REMOTE_ADDR": peer, **claim, **more}
            self.assertEqual(ask_wsgi(self.gate, proxies, **environ)[0]["status"], status, (peer, proxies, more))

    def test_wsgi_paths(self):
        for path, status in [("/a", 200), ("/admin", 403), ("/a/../admin", 403), ("/x\xc3\xa9 \r\n", 200)]:
            self.assertEqual(ask_wsgi(self.gate, REMOTE_ADDR="192.0.2.13", PATH_INFO=path)[0]["status"], status, path)

    def test_asgi(self):
        sent, seen = ask_asgi(self.gate, headers=[("X-Testudo-Outcome", "allowed"), ("x_testudo_type", "x"), ("x", "y")])
        self.assertEqual(sent[1]["body"], b"site")
        self.assertEqual(dict(seen["headers"])[b"x-testudo-outcome"], b"clean")
        self.assertEqual(sorted(name for name, _ in seen["headers"])[0], b"x")
        self.assertNotIn(b"x_testudo_type", dict(seen["headers"]))
        self.assertEqual(seen["testudo.verdict"].outcome, "clean")
        sent, seen = ask_asgi(self.gate, client=("192.0.2.10", 1))
        self.assertEqual((sent[0]["status"], seen), (403, {}))

    def test_asgi_peers(self):
        claim = [("x-forwarded-for", "192.0.2.9, 192.0.2.10")]
        for client, server, proxies, status in [
            (("127.0.0.1", 1), ("127.0.0.1", 80), ["127.0.0.1"], 403),
            (("127.0.0.1", 1), ("127.0.0.1", 80), [], 200),
            (None, ("/run/site.sock", None), ["unix"], 403),
            (None, None, ["unix"], 403),
            # A peer that has gone away is no proxy.
            (None, ("127.0.0.1", 80), ["unix"], 500),
        ]:
            sent, _ = ask_asgi(self.gate, proxies, client=client, server=server, headers=claim)
            self.assertEqual(sent[0]["status"], status, (client, server, proxies))

    def test_asgi_bodies(self):
        form = [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://example.org"), ("host", "example.org")]
        captcha = {"client": ("192.0.2.11", 1), "method": "POST", "headers": [*form, ("accept", "text/html")]}
        parts = [{"type": "http.request", "body": b"a=", "more_body": True}, {"type": "http.request", "body": b"b"}]
        sent, _ = ask_asgi(self.gate, messages=parts, **captcha)
        self.assertIn(b'name="form" value="a=b"', sent[1]["body"])
        sent, _ = ask_asgi(self.gate, messages=[{"type": "http.request", "body": b"a=" + b"b" * 70_000}], **captcha)
        self.assertIn(b"could not be kept", sent[1]["body"])
        sent, _ = ask_asgi(self.gate, messages=[parts[0], {"type": "http.disconnect"}], **captcha)
        self.assertEqual(sent, [])
        sent, _ = ask_asgi(self.gate, path=OWN, method="POST", messages=[{"type": "http.request", "body": b"a" * 300_000}])
        self.assertEqual(sent[0]["status"], 413)

    def test_forms(self):
        for form in VECTORS["kept_forms"]:
            with self.subTest(form["type"]):
                about = [("content-type", form["type"]), ("origin", "http://example.org"), ("host", "example.org"), ("accept", "text/html")]
                message = {"type": "http.request", "body": form["body"].encode()}
                sent, _ = ask_asgi(self.gate, messages=[message], client=("192.0.2.11", 1), method="POST", headers=about)
                environ = {"HTTP_ORIGIN": "http://example.org", "HTTP_HOST": "example.org", "HTTP_ACCEPT": "text/html", "CONTENT_TYPE": form["type"]}
                told, _ = ask_wsgi(self.gate, REMOTE_ADDR="192.0.2.11", REQUEST_METHOD="POST", body=form["body"].encode(), **environ)
                for page in [sent[1]["body"], told["body"]]:
                    self.assertEqual((b'name="form"' in page, b"could not be kept" in page), (True, False))

    def test_asgi_other_scopes(self):
        connect = [{"type": "websocket.connect"}]
        sent, seen = ask_asgi(self.gate, kind="websocket", messages=connect, client=("192.0.2.10", 1), scheme="ws")
        self.assertEqual((sent, seen), ([{"type": "websocket.close", "code": 1008}], {}))
        _, seen = ask_asgi(self.gate, kind="websocket", scheme="ws")
        self.assertEqual(seen["testudo.verdict"].outcome, "clean")
        _, seen = ask_asgi(self.gate, kind="lifespan")
        self.assertEqual(seen["type"], "lifespan")
        with self.assertRaises(ValueError):
            ask_asgi(self.gate, kind="webtransport")


if __name__ == "__main__":
    unittest.main()
