"""Guards an ASGI application on asyncio: `app = Guard(app, Gate(fail="open"))`."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, Iterable, MutableMapping, Optional, Union
from urllib.parse import quote

from . import _guard as guard
from ._address import Proxies
from ._client import Gate
from ._exchange import GateError, Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# What may stand in a path as it is.
_PLAIN = "/:@!$&'()*+,;=-._~"


class _Gone(Exception):
    """The visitor went away."""


class Guard:
    """Who may not pass sees the gate's page; what they send is handed on after the challenge. WebSockets are refused.

    The application finds the verdict in `scope["testudo.verdict"]`, and headers `x-testudo-outcome`, `-decision`, `-type`,
    `-origin`, `-scenario`, in which nothing stands that a visitor sent.
    """

    def __init__(self, app: Application, gate: Gate, trusted_proxies: Iterable[str] = ()) -> None:
        """Raises `ValueError` for proxies that are none; see `Proxies`."""
        self._app, self._gate, self._proxies = app, gate, Proxies(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            # As ASGI has it for what is not known: who comes this way would not be asked about.
            raise ValueError(f"testudo_gate does not guard scopes of the type {scope['type']!r}")
        try:
            found = await self._find(scope, receive)
        except _Gone:
            return
        if isinstance(found, guard.Pass):
            headers = [pair for pair in scope["headers"] if not guard.is_told_by_us(pair[0].decode("latin-1"))]
            headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found.told]
            told: Dict[str, Any] = {"headers": headers, "testudo.verdict": found.verdict}
            await self._app({**scope, **told}, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _send(found, scope["method"] == "HEAD", send)

    async def _find(self, scope: Scope, receive: Receive) -> Union[guard.Pass, guard.Reply]:
        headers: Headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        query = scope.get("query_string", b"").decode("latin-1")
        path = quote(scope["path"], safe=_PLAIN, errors="replace")
        visit = guard.read_visit(
            self._proxies,
            _peer(scope),
            scope.get("method", "GET"),
            (path or "/") + (f"?{query}" if query else ""),
            scope.get("scheme", "http"),
            headers,
        )
        if isinstance(visit, guard.Reply):
            return visit
        is_http = scope["type"] == "http"
        if visit.is_own and is_http:
            body = await _read(receive, guard.MAX_ANSWER)
            if body is None:
                return guard.too_large()
            try:
                return guard.reply(await self._gate.ask_async(guard.own_question(visit, body)))
            except GateError as error:
                self._gate.failed(error)
                return guard.unavailable()
        try:
            found = guard.judge(await self._gate.ask_async(guard.check_question(visit)))
        except GateError as error:
            return guard.failed(self._gate, error)
        if isinstance(found, guard.Pass):
            return found
        if found.outcome is None or not is_http:
            return guard.refused()
        body = await _read(receive, guard.MAX_FORM if visit.has_form else 0)
        try:
            return guard.page(await self._gate.ask_async(guard.page_question(visit, found.outcome, body)))
        except GateError as error:
            self._gate.failed(error)
            return guard.refused()


def _peer(scope: Scope) -> str:
    """Who is at the other end. A server on a socket in the file system has no port; where it has one, a peer without an address
    has gone away, and must not be taken for a proxy."""
    client, server = scope.get("client"), scope.get("server")
    if client and client[0]:
        return str(client[0])
    return "" if server and server[1] is not None else "unix"


async def _read(receive: Receive, most: int) -> Optional[bytes]:
    """The body; None if there is more."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _send(reply: guard.Reply, is_head: bool, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else reply.body})
