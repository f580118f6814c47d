"""What guarding a site is, apart from how a request comes and an answer goes."""

from __future__ import annotations

import re
from typing import Iterable, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote

from ._address import Proxies
from ._client import Gate
from ._exchange import Answer, GateError, Headers, request
from ._verdict import PASSING, REFUSED, Decision, Verdict, action_of

#: The path below which visitors talk to the gate itself.
OWN_PATH = "/.well-known/testudo/"

#: The largest form that survives a challenge, in bytes.
MAX_FORM = 64 << 10

#: The largest answer to a challenge, in bytes: that form encoded once more, and what the challenge is made of.
MAX_ANSWER = 256 << 10

#: What may be a method or the name of a header.
TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}"

#: The types of forms that the gate keeps while a challenge is answered; of the second, only those without files.
FORMS = frozenset(["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])

# What concerns one connection only, and what the guard says itself.
_OWN_NAMES = frozenset(
    "host connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length expect"
    " forwarded x-real-ip".split()
)
_OWN_PREFIXES = ("x-testudo-", "x-original-", "x-forwarded-")
# What the gate looks at in a visitor's own request. Other names could be those by which it is told who the user is.
_VISITORS_NAMES = frozenset(
    "cookie user-agent origin referer content-type x-http-method x-http-method-override x-method-override".split()
)
_VISITORS_PREFIXES = ("accept", "sec-")
_UNSENT = frozenset(["connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"])
_TOLD = ("x-testudo-outcome", "x-testudo-decision", "x-testudo-type", "x-testudo-origin", "x-testudo-scenario")


class Visit(NamedTuple):
    """A visitor's request."""

    address: str
    host: str
    method: str
    #: Path and query, in plain ASCII.
    target: str
    is_https: bool
    headers: Headers
    #: It came from a trusted proxy.
    is_by_proxy: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is meant for the gate."""
        return self.target.startswith(OWN_PATH)

    @property
    def has_form(self) -> bool:
        kinds = [value for name, value in self.headers if name.lower() == "content-type"]
        return self.method == "POST" and bool(kinds) and kinds[0].split(";")[0].strip().lower() in FORMS


class Pass(NamedTuple):
    """The request goes on."""

    verdict: Verdict
    #: What the application is told, in headers.
    told: Headers


class Stop(NamedTuple):
    """The request does not go on: the outcome of a refusal, to be shown by the gate's page; none where it has no page."""

    outcome: Optional[str]


class Reply(NamedTuple):
    """An answer to a visitor."""

    status: int
    headers: Headers
    body: bytes


#: What the visitor sent: its bytes, or None where it is too large or no form.
Body = Optional[bytes]


def read_visit(
    proxies: Proxies, peer: str, method: str, target: str, scheme: str, headers: Headers
) -> Union[Visit, Reply]:
    """A visit of what a server tells. A reply where nobody says whose request it is."""
    if not re.fullmatch(TOKEN, method):
        return plain(400, "Not a method\n")
    lines = [value for name, value in headers if name.lower() == "x-forwarded-for"]
    address = proxies.client(peer, lines)
    if address is None:
        return plain(500, "nobody says whose request this is: see `trusted_proxies`\n")
    told = [value for name, value in headers if name.lower() == "x-forwarded-proto"]
    if told and proxies.trusts(peer):
        scheme = told[0].strip().lower()
    host = next((value for name, value in headers if name.lower() == "host"), "")
    return Visit(address, host, method, plain_target(target), scheme in ("https", "wss"), headers, proxies.trusts(peer))


def plain_target(target: str) -> str:
    """A target in which only visible ASCII stands; `target` has bytes as letters."""
    return re.sub(r"[^\x21-\x7e]", lambda found: quote(found.group(), safe="", encoding="latin-1", errors="replace"), target)


def is_told_by_us(name: str) -> bool:
    """Whether a header is for the guard to say to the application. Some servers take `_` for `-`."""
    return name.lower().replace("_", "-").startswith("x-testudo-")


def is_kept_back(name: str, is_by_proxy: bool) -> bool:
    """Whether a header is not handed on to the gate. What is no name, which no server lets through, is not."""
    plain_name = name.lower().replace("_", "-")
    if not re.fullmatch(TOKEN, name) or plain_name in _OWN_NAMES or plain_name.startswith(_OWN_PREFIXES):
        return True
    return not is_by_proxy and plain_name not in _VISITORS_NAMES and not plain_name.startswith(_VISITORS_PREFIXES)


def check_question(visit: Visit) -> bytes:
    """Asks whether a visit may pass."""
    return request("GET", "/auth", _original(visit))


def page_question(visit: Visit, outcome: str, body: Body) -> bytes:
    """Asks for the page of a refusal."""
    headers = _original(visit) + [("X-Testudo-Outcome", outcome)]
    if body is None:
        # A byte of no type, which the gate will not keep, stands for what cannot be kept, so that the page tells.
        headers, body = [(name, value) for name, value in headers if name.lower() != "content-type"], b"?"
    return request("POST", "/page", headers, body)


def own_question(visit: Visit, body: bytes) -> bytes:
    """Hands on what a visitor says to the gate."""
    return request(visit.method, visit.target, _about(visit), body)


def judge(answer: Answer) -> Union[Pass, Stop]:
    """Reads the answer to a check. Raises `GateError` where it is not one of a gate."""
    if answer.status in REFUSED:
        return Stop(None)
    outcome = answer.header("x-testudo-outcome")
    if answer.status not in (200, 403) or outcome is None:
        raise GateError(f"the gate answers with {answer.status}, and not as a gate does")
    if answer.status != 200 or outcome not in PASSING:
        return Stop(outcome)
    told = [(name, answer.header(name) or "") for name in _TOLD]
    number, kind, origin, scenario = (value for _, value in told[1:])
    decision = Decision(int(number), kind, origin, scenario, None) if re.fullmatch("[0-9]{1,15}", number) else None
    decisions = (decision,) if decision else ()
    return Pass(Verdict(True, action_of(True, outcome, kind), outcome, decision, decisions), told)


def failed(gate: Gate, error: GateError) -> Union[Pass, Reply]:
    """What happens while the gate cannot be asked."""
    verdict = gate.failed(error)
    return Pass(verdict, [("x-testudo-outcome", verdict.outcome)]) if verdict.passes else unavailable()


def page(answer: Answer) -> Reply:
    """The gate's page; one of our own where it is none. Who is refused stays refused."""
    return reply(answer) if is_page(answer) else refused()


def is_page(answer: Answer) -> bool:
    """Whether an answer says that a visitor may not pass, and is the gate's."""
    is_refusal = 400 <= answer.status < 500 or answer.status == 503
    return is_refusal and answer.header("x-testudo-outcome") is not None


def reply(answer: Answer) -> Reply:
    """The gate's answer, for a visitor."""
    headers = [(name, value) for name, value in answer.headers if name.lower() not in _UNSENT]
    return Reply(answer.status, headers, answer.body)


def refused() -> Reply:
    return plain(403, "Access refused\n")


def unavailable() -> Reply:
    return plain(503, "Unavailable: try again in a moment\n", [("Retry-After", "1")])


def too_large() -> Reply:
    return plain(413, "Too large\n")


def plain(status: int, text: str, more: Iterable[Tuple[str, str]] = ()) -> Reply:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store"), *more]
    return Reply(status, headers, text.encode())


def _about(visit: Visit) -> Headers:
    # What stands here is no visitor's word: theirs are not handed on under these names.
    handed_on = [(name, value) for name, value in visit.headers if not is_kept_back(name, visit.is_by_proxy)]
    scheme = "https" if visit.is_https else "http"
    return [("Host", visit.host), ("X-Forwarded-For", visit.address), ("X-Forwarded-Proto", scheme)] + handed_on


def _original(visit: Visit) -> Headers:
    return _about(visit) + [("X-Original-URI", visit.target), ("X-Original-Method", visit.method)]

