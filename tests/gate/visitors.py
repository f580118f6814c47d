"""A site, its visitors, and what they do: what the parts of `run` have in common."""

import hashlib
import html
import http.client
import http.server
import json
import re
import socket
import time
import urllib.parse

AGENT = "Mozilla/5.0 (test)"
OWN = "/.well-known/testudo/answer"
FORM = "application/x-www-form-urlencoded"

# Pages that send a form by themselves.
SEND = "<script>document.forms[0].submit()</script>"
PAGES = {
    "/form.html": '<form method=post action="/shop"><input name=a value="&eacute; &amp; &quot;x&quot;"></form>' + SEND,
    "/form-parts.html": '<form method=post action="/shop" enctype="multipart/form-data"><input name=a value="&eacute; &amp;">'
    "<textarea name=b>\ntwo\nlines</textarea><input type=file name=up></form>" + SEND,
}


class Failed(Exception):
    pass


def expect(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: {str(found)[:300]} instead of {str(wanted)[:300]}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_ports():
    """A port of which the next four are free as well."""
    while True:
        port = free_port()
        probes = [socket.socket() for _ in range(4)]
        try:
            for after, probe in enumerate(probes, 1):
                probe.bind(("127.0.0.1", port + after))
            return port
        except (OSError, OverflowError):
            continue
        finally:
            for probe in probes:
                probe.close()


def wait_for(port, process=None, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process and process.poll() is not None:
            raise Failed(f"{process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failed(f"nothing listens on {port}")


class App(http.server.BaseHTTPRequestHandler):
    """The site: tells what it got."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        if self.path in PAGES:
            text = PAGES[self.path].encode()
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        text = json.dumps(
            {
                "method": self.command,
                "target": self.path,
                "body": body.decode("latin-1"),
                "outcome": self.headers.get("x-testudo-outcome"),
                "told": {name.lower(): value for name, value in self.headers.items() if name.lower().startswith("x-testudo-")},
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

    def log_message(self, *_):
        pass


class Site(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Web servers break connections off when they end."""


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode("utf-8", "replace")

    @property
    def site(self):
        """What the site told; fails where it was not asked."""
        if self.headers.get("content-type") != "application/json":
            raise Failed(f"the site was not asked: {self.status} {self.text[:200]}")
        return json.loads(self.text)

    def field(self, name):
        found = re.search(f'name="{name}" value="([^"]*)"', self.text)
        return html.unescape(found.group(1)) if found else None


def ask(port, client, method="GET", target="/", body=None, host="example.org", spelled=None, **headers):
    """Headers are written with `-`, but for those that are `spelled` as they are."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(client, 0))
    given = {"Host": host, "User-Agent": AGENT, "Accept": "text/html,*/*"}
    given.update({name.replace("_", "-"): value for name, value in headers.items()})
    given.update(spelled or {})
    try:
        connection.request(method, target, body, given)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def send(port, client, fields, **headers):
    body = urllib.parse.urlencode(fields)
    return ask(port, client, "POST", OWN, body, Content_Type=FORM, Origin="http://example.org", **headers)


def solve(page):
    """The fields of a right answer."""
    seed = re.search('data-seed="([^"]*)"', page.text).group(1)
    bits = int(re.search('data-bits="([^"]*)"', page.text).group(1))
    number = 0
    while int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest(), "big") >> (256 - bits):
        number += 1
    fields = {"challenge": page.field("challenge"), "answer": str(number), "target": page.field("target")}
    if page.field("form") is not None:
        fields["form"] = page.field("form")
    return fields


def cookie(answer):
    return (answer.headers.get("set-cookie") or "").split(";")[0]
