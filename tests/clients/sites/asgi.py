"""A site that tells what it got, behind the guard for ASGI: `asgi:site` for a server."""

import json
import os

from testudo_gate import Gate
from testudo_gate.asgi import Guard


async def app(scope, receive, send):
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    forged = headers.get("x-testudo-scenario") or headers.get("x-testudo-new")
    query = scope["query_string"].decode()
    told = {"method": scope["method"], "target": scope["path"] + ("?" + query if query else ""), "body": body.decode("latin-1")}
    text = json.dumps({**told, "outcome": headers.get("x-testudo-outcome"), "forged": forged}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


site = Guard(app, Gate(os.environ["TESTUDO_GATE"], fail=os.environ["TESTUDO_GATE_FAIL"]))
