"""Many clients at once, in one thread: each sends one request and reads its answer to the last byte."""

import selectors
import socket
import time

CHUNK = bytearray(1 << 20)


class Answer:
    """What one client got: when it began and ended (seconds from the start), bytes, how it began and ended."""

    def __init__(self, number, request):
        self.number, self.request = number, request
        self.first = self.last = None
        self.bytes = 0
        self.head = self.tail = b""
        self.marks = 0

    def is_whole(self):
        return self.head.startswith(b"HTTP/1.1 200") and (b"chunked" not in self.head.lower() or self.tail.endswith(b"0\r\n\r\n"))


def ask_all(port, requests, *, seconds=600, mark=None, marks=0, ready=None, ready_when=b"\r\n\r\n"):
    """Sends each request on a connection of its own, all at once, and reads until the server closes it.

    With `mark`, an answer is over when that text was seen `marks` times; `ready` is called once every client has read
    `ready_when`, and times count from then.
    """
    selector = selectors.DefaultSelector()
    answers = [Answer(number, request) for number, request in enumerate(requests)]
    started = time.monotonic()
    sockets = []
    for answer in answers:
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        sockets.append(one)
        selector.register(one, selectors.EVENT_READ, answer)
    started = time.monotonic()
    for one, answer in zip(sockets, answers):
        one.sendall(answer.request)
    waiting = set() if ready is None else set(range(len(answers)))
    if ready is not None and not waiting:
        ready()
    open_ones, end = len(answers), time.monotonic() + seconds
    while open_ones and time.monotonic() < end:
        for chosen, _ in selector.select(1):
            answer, one = chosen.data, chosen.fileobj
            try:
                size = one.recv_into(CHUNK)
            except OSError:
                size = 0
            now = time.monotonic() - started
            piece = bytes(CHUNK[:size])
            if answer.first is None:
                answer.first = now
            answer.bytes += size
            if len(answer.head) < 4096:
                answer.head += piece[:4096 - len(answer.head)]
            if mark is not None:
                # A mark may lie across two pieces.
                known = answer.tail[-len(mark) + 1:] if len(mark) > 1 else b""
                answer.marks += (known + piece).count(mark)
            answer.tail = (answer.tail + piece)[-64:]
            if answer.number in waiting and ready_when in answer.head:
                waiting.discard(answer.number)
                if not waiting:
                    for other in answers:
                        other.marks = 0
                    started = time.monotonic()
                    ready()
            if size == 0 or (mark is not None and not waiting and answer.marks >= marks):
                answer.last = time.monotonic() - started
                selector.unregister(one)
                one.close()
                open_ones -= 1
    for one in sockets:
        one.close()
    return answers


def get(path, key, *, agent="crowdsec-firewall-bouncer/v0.0.28-linux", accept="gzip", close=True):
    """The bytes of a bouncer's request."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"User-Agent: {agent}", f"X-Api-Key: {key}"]
    lines += [f"Accept-Encoding: {accept}"] if accept else []
    lines += ["Connection: close"] if close else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
