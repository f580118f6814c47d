"""The client for applications that act on a verdict themselves."""

from __future__ import annotations

import logging
import time
from typing import Optional
from urllib.parse import quote, urlencode

from ._address import parse
from ._cache import Cache
from ._exchange import Answer, GateError, Place, exchange, exchange_async, request
from ._verdict import Verdict, of_check, of_failure

LOG = logging.getLogger("testudo_gate")

#: How long the log is left alone after it was told that the gate cannot be asked, in seconds.
SILENCE = 10.0


class Gate:
    """A gate, and what holds while it cannot be asked. For many threads."""

    def __init__(
        self,
        place: str = "127.0.0.1:9740",
        *,
        fail: str,
        timeout: float = 0.5,
        cache_seconds: float = 1.0,
        cache_size: int = 10_000,
    ) -> None:
        """`place` is where the gate listens: an address with a port, or the path of a socket.

        `fail` has to be said: `open` lets everybody pass while the gate cannot be asked, `closed` nobody. `timeout` is for a
        whole question, in seconds; a name is looked up beside it. A verdict holds for `cache_seconds`, of up to `cache_size`
        questions. Raises `ValueError` for what cannot be.
        """
        if fail not in ("open", "closed"):
            raise ValueError(f"fail: {fail!r} is neither `open` nor `closed`")
        if not 0 < timeout <= 60:
            raise ValueError("timeout: more than 0 and up to 60 seconds")
        self._place = Place(place)
        self._is_open = fail == "open"
        self._timeout = timeout
        self._cache = Cache(cache_seconds, cache_size)
        self._next_word = 0.0

    def check(
        self, address: Optional[str] = None, *, user: str = "", host: str = "", method: str = "GET", target: str = "/"
    ) -> Verdict:
        """What is to be done with an address, a user, or both; counts nothing. Never raises for what the gate does.

        Raises `ValueError` for what is no address, and where there is neither.
        """
        parsed = None if address is None else parse(address)
        if parsed is None and (address is not None or not user):
            raise ValueError(f"{address!r} is no address" if address is not None else "name an address, a user, or both")
        asked = {"host": host, "method": method, "target": target}
        if parsed is not None:
            asked["ip"] = str(parsed)
        if user:
            asked["user"] = user

        path = "/check?" + urlencode(asked, quote_via=quote, safe="", errors="replace")

        def ask() -> Verdict:
            try:
                return of_check(self.ask(request("GET", path, [("Host", "gate")])), bool(user))
            except GateError as error:
                return self.failed(error)

        return self._cache.get(path, ask)

    def ask(self, question: bytes) -> Answer:
        """Asks a question of a guard. Raises `GateError`."""
        return exchange(self._place, question, self._timeout)

    async def ask_async(self, question: bytes) -> Answer:
        """As `ask`, beside the other tasks of asyncio."""
        return await exchange_async(self._place, question, self._timeout)

    def failed(self, error: GateError) -> Verdict:
        """What holds while the gate cannot be asked; the log is told now and then."""
        now = time.monotonic()
        if now >= self._next_word:
            self._next_word = now + SILENCE
            LOG.warning("%s; visitors are %s", error, "let pass" if self._is_open else "refused")
        return of_failure(self._is_open, str(error))
