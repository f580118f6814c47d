"""Guards a WSGI application: `application = Guard(application, Gate(fail="open"))`."""

from __future__ import annotations

import http
import socket
from typing import TYPE_CHECKING, Iterable, Optional, Union
from urllib.parse import quote

from . import _guard as guard
from ._address import Proxies
from ._client import Gate
from ._exchange import GateError, Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# What may stand in a path as it is.
_PLAIN = "/:@!$&'()*+,;=-._~"


class Guard:
    """Who may not pass sees the gate's page; what they send is handed on after the challenge.

    The application finds the verdict in `environ["testudo.verdict"]`, and `HTTP_X_TESTUDO_OUTCOME`, `_DECISION`, `_TYPE`,
    `_ORIGIN`, `_SCENARIO`, in which nothing stands that a visitor sent.
    """

    def __init__(self, app: WSGIApplication, gate: Gate, trusted_proxies: Iterable[str] = ()) -> None:
        """Raises `ValueError` for proxies that are none; see `Proxies`."""
        self._app, self._gate, self._proxies = app, gate, Proxies(trusted_proxies)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = self._find(environ)
        if isinstance(found, guard.Pass):
            for name in [name for name in environ if name.startswith("HTTP_X_TESTUDO_")]:
                del environ[name]
            for name, value in found.told:
                environ["HTTP_" + name.upper().replace("-", "_")] = value
            environ["testudo.verdict"] = found.verdict
            return self._app(environ, start_response)
        status = f"{found.status} {_phrase(found.status)}"
        start_response(status, found.headers + [("Content-Length", str(len(found.body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [found.body]

    def _find(self, environ: WSGIEnvironment) -> Union[guard.Pass, guard.Reply]:
        path = quote((environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1"), safe=_PLAIN)
        query = environ.get("QUERY_STRING", "")
        visit = guard.read_visit(
            self._proxies,
            _peer(environ),
            environ["REQUEST_METHOD"],
            (path or "/") + (f"?{query}" if query else ""),
            environ["wsgi.url_scheme"],
            _headers(environ),
        )
        if isinstance(visit, guard.Reply):
            return visit
        if visit.is_own:
            body = _read(environ, guard.MAX_ANSWER)
            if body is None:
                return guard.too_large()
            try:
                return guard.reply(self._gate.ask(guard.own_question(visit, body)))
            except GateError as error:
                self._gate.failed(error)
                return guard.unavailable()
        try:
            found = guard.judge(self._gate.ask(guard.check_question(visit)))
        except GateError as error:
            return guard.failed(self._gate, error)
        if isinstance(found, guard.Pass):
            return found
        if found.outcome is None:
            return guard.refused()
        body = _read(environ, guard.MAX_FORM if visit.has_form else 0)
        try:
            return guard.page(self._gate.ask(guard.page_question(visit, found.outcome, body)))
        except GateError as error:
            self._gate.failed(error)
            return guard.refused()


def _peer(environ: WSGIEnvironment) -> str:
    """Who is at the other end. A peer without an address is nobody, and must not be taken for a proxy, unless it is known to be one
    on a socket in the file system: nginx says `unix:`, and gunicorn shows the socket."""
    address = str(environ.get("REMOTE_ADDR", ""))
    family = getattr(environ.get("gunicorn.socket"), "family", None)
    is_on_socket = address == "unix:" or not address and family is not None and family == getattr(socket, "AF_UNIX", None)
    return "unix" if is_on_socket else address


def _headers(environ: WSGIEnvironment) -> Headers:
    names = [(name[5:], value) for name, value in environ.items() if name.startswith("HTTP_")]
    if environ.get("CONTENT_TYPE"):
        names.append(("CONTENT_TYPE", environ["CONTENT_TYPE"]))
    return [(name.replace("_", "-").title(), value) for name, value in names if isinstance(value, str)]


def _read(environ: WSGIEnvironment, most: int) -> Optional[bytes]:
    """The body; None if there is more."""
    given = environ.get("CONTENT_LENGTH") or "0"
    length = int(given) if given.isascii() and given.isdigit() else most + 1
    if length > most or environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    return body if len(body) == length else None


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "-"
