"""One question to the gate, and its answer, by HTTP/1.0: a connection for each, which ends with the answer.

What is read is bounded and strict: an answer that does not say how long it is, or is shorter, is none.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import Any, Iterable, List, NamedTuple, Optional, Tuple

Headers = List[Tuple[str, str]]

#: The longest head of an answer, in bytes.
MAX_HEAD = 64 << 10
#: The longest body of an answer, in bytes: a page with a form of 64 KiB in it, each byte as an entity of six.
MAX_BODY = 1 << 20
#: The longest head of a question, in bytes, and the most headers in it. The gate takes 64 KiB and 128.
MAX_QUESTION = 60 << 10
MAX_QUESTION_HEADERS = 120

_STATUS = re.compile(rb"HTTP/1\.[01] ([2-5][0-9][0-9])(?: [^\r\n\0]*)?\Z")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class GateError(Exception):
    """The gate did not answer, or not as a gate does."""


class Answer(NamedTuple):
    """What the gate answered."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> Optional[str]:
        """The first value of a header, by its name in small letters."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class Place:
    """Where the gate listens: `127.0.0.1:9740`, `[::1]:9740`, `gate.internal:9740`, or the path of a socket."""

    def __init__(self, text: str) -> None:
        """Raises `ValueError` for what is no place."""
        self.path: Optional[str] = text if text.startswith("/") else None
        self.host, self.port = "", 0
        if self.path is not None:
            return
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):([0-9]{1,5})", text)
        if found is None or not 0 < int(found.group(2)) <= 65_535:
            raise ValueError(f"the gate's place: {text!r} is neither like 127.0.0.1:9740 nor the path of a socket")
        self.host, self.port = found.group(1).strip("[]"), int(found.group(2))


def request(method: str, target: str, headers: Iterable[Tuple[str, str]], body: bytes = b"") -> bytes:
    """A question as bytes. `target` is plain ASCII; control characters in headers, which no server lets through, become `?`."""
    lines = [f"{method} {target} HTTP/1.0"]
    lines += [f"{name}: {_CONTROL.sub('?', value)}" for name, value in headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + body


def _is_too_large(question: bytes) -> bool:
    """Whether the gate would not take a question. To send it would be to have the connection broken off."""
    head = question[: question.find(b"\r\n\r\n") + 4]
    # The first line and the empty one are no headers.
    return len(head) > MAX_QUESTION or head.count(b"\r\n") - 2 > MAX_QUESTION_HEADERS


#: What the gate says to a question that is too large.
_TOO_LARGE = Answer(431, [], b"")


class Reader:
    """Puts an answer together from what arrives."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._head: Optional[Tuple[int, Headers]] = None
        self._length = 0

    def take(self, data: bytes) -> Optional[Answer]:
        """Takes more; no bytes are the end. The answer once it is whole. Raises `GateError`."""
        self._bytes += data
        if self._head is None:
            end = self._bytes.find(b"\r\n\r\n", 0, MAX_HEAD)
            if end >= 0:
                self._head, self._length = _read_head(bytes(self._bytes[:end]))
                del self._bytes[: end + 4]
            elif len(self._bytes) >= MAX_HEAD:
                raise GateError("the head of the gate's answer is too long")
        if self._head is not None and len(self._bytes) >= self._length:
            return Answer(*self._head, bytes(self._bytes[: self._length]))
        if not data:
            raise GateError("the gate's answer is cut off")
        return None


def _read_head(head: bytes) -> Tuple[Tuple[int, Headers], int]:
    first, *lines = head.split(b"\r\n")
    status = _STATUS.match(first)
    found = [_LINE.match(line) for line in lines]
    if status is None or None in found:
        raise GateError("the gate's answer is not HTTP")
    headers = [(line.group(1).decode(), line.group(2).decode("latin-1")) for line in found if line]
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    is_coded = any(name.lower() == "transfer-encoding" for name, _ in headers)
    if is_coded or len(lengths) != 1 or not re.fullmatch("[0-9]{1,7}", lengths[0]) or int(lengths[0]) > MAX_BODY:
        raise GateError("the gate's answer does not say how long it is, or is too long")
    return (int(status.group(1)), headers), int(lengths[0])


def exchange(place: Place, question: bytes, timeout: float) -> Answer:
    """Asks, and waits for the answer, for `timeout` seconds in all. Raises `GateError`.

    What the gate would not take is not sent, and answered as the gate would.
    """
    if _is_too_large(question):
        return _TOO_LARGE
    end = time.monotonic() + timeout
    try:
        with _connect(place, end) as connection:
            connection.settimeout(_left(end))
            try:
                connection.sendall(question)
            except (BrokenPipeError, ConnectionResetError):
                # Who refuses a question may have said so before all of it was there.
                pass
            reader = Reader()
            while True:
                connection.settimeout(_left(end))
                answer = reader.take(connection.recv(64 << 10))
                if answer is not None:
                    return answer
    except (OSError, UnicodeError) as error:
        raise GateError(f"the gate cannot be asked: {error or type(error).__name__}") from error


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout("it takes too long")
    return left


def _connect(place: Place, end: float) -> socket.socket:
    if place.path is not None:
        return _connect_to(socket.AF_UNIX, place.path, end)
    failure: OSError = OSError("its name has no address")
    for family, _, _, _, address in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM):
        try:
            return _connect_to(family, address, end)
        except OSError as error:
            failure = error
    raise failure


def _connect_to(family: int, address: Any, end: float) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(_left(end))
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


async def exchange_async(place: Place, question: bytes, timeout: float) -> Answer:
    """As `exchange`, beside the other tasks of asyncio."""
    if _is_too_large(question):
        return _TOO_LARGE
    try:
        return await asyncio.wait_for(_exchange_async(place, question), timeout)
    except asyncio.TimeoutError as error:
        raise GateError("the gate cannot be asked: it takes too long") from error
    except (OSError, UnicodeError) as error:
        raise GateError(f"the gate cannot be asked: {error or type(error).__name__}") from error


async def _exchange_async(place: Place, question: bytes) -> Answer:
    # Not by streams: where writing fails, they no longer hand out what was answered.
    loop = asyncio.get_running_loop()
    with await _connect_async(loop, place) as connection:
        try:
            await loop.sock_sendall(connection, question)
        except (BrokenPipeError, ConnectionResetError):
            pass
        reader = Reader()
        while True:
            answer = reader.take(await loop.sock_recv(connection, 64 << 10))
            if answer is not None:
                return answer


async def _connect_async(loop: asyncio.AbstractEventLoop, place: Place) -> socket.socket:
    if place.path is not None:
        return await _connect_async_to(loop, socket.AF_UNIX, place.path)
    failure: OSError = OSError("its name has no address")
    for family, _, _, _, address in await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM):
        try:
            return await _connect_async_to(loop, family, address)
        except OSError as error:
            failure = error
    raise failure


async def _connect_async_to(loop: asyncio.AbstractEventLoop, family: int, address: Any) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await loop.sock_connect(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection
