"""Asks the gate over gRPC as Envoy does not: `run grpc` starts it with the gate's port.

The well-behaved part is the client of the gRPC project with the published messages; the other is frames of HTTP/2 by hand.
"""

import socket
import struct
import sys

import grpc
from envoy.service.auth.v3 import external_auth_pb2

PORT = int(sys.argv[1])
METHOD = "/envoy.service.auth.v3.Authorization/Check"


def expect(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: {str(found)[:300]} instead of {str(wanted)[:300]}")


def question(source="127.0.0.9", path="/", body=b"", **headers):
    asked = external_auth_pb2.CheckRequest()
    asked.attributes.source.address.socket_address.address = source
    http = asked.attributes.request.http
    http.method, http.path, http.host, http.scheme, http.raw_body = "GET", path, "example.org", "http", body
    http.headers.update({"user-agent": "x", "accept": "text/html", **{name.replace("_", "-"): text for name, text in headers.items()}})
    return asked


def status_of(check, message, **options):
    try:
        check(message, timeout=20, **options)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def client():
    with grpc.insecure_channel(f"127.0.0.1:{PORT}") as channel:
        check = channel.unary_unary(
            METHOD,
            request_serializer=external_auth_pb2.CheckRequest.SerializeToString,
            response_deserializer=external_auth_pb2.CheckResponse.FromString,
        )
        raw = channel.unary_unary(METHOD)
        elsewhere = channel.unary_unary("/envoy.service.auth.v3.Authorization/Other")

        passed = check(question(x_testudo_outcome="allowed", x_testudo_other="x"))
        told = {option.header.key: option.header.value for option in passed.ok_response.headers}
        expect("who passes", (passed.status.code, told["x-testudo-outcome"]), (0, "clean"))
        expect("what goes", "x-testudo-other" in passed.ok_response.headers_to_remove, True)
        banned = check(question("127.0.0.10", x_forwarded_for="127.0.0.9"))
        expect("who does not", (banned.status.code, banned.denied_response.status.code), (7, 403))
        expect("the page", "Access refused" in banned.denied_response.body, True)
        marked = check(question("127.0.0.14"))
        told = {option.header.key: option.header.value for option in marked.ok_response.headers}
        expect("a mark", (told["x-testudo-outcome"], told["x-testudo-scenario"]), ("marked", "example/odd"))
        nobody = check(external_auth_pb2.CheckRequest())
        expect("nobody passes who is not told", (nobody.status.code, nobody.denied_response.status.code), (7, 500))

        # Fields of a later version.
        later = question("127.0.0.10").SerializeToString() + bytes([0xFA, 0x7F, 3]) + b"new" + bytes([0xF8, 0x7F, 7])
        answer = external_auth_pb2.CheckResponse.FromString(raw(later, timeout=20))
        expect("unknown fields", answer.denied_response.status.code, 403)
        for what, message in {"cut off": later[:-30], "a group": b"\x0b", "endless": b"\x08" + b"\xff" * 30}.items():
            expect(what, status_of(raw, message), "INVALID_ARGUMENT")
        expect("an empty message", external_auth_pb2.CheckResponse.FromString(raw(b"", timeout=20)).status.code, 7)
        expect("compressed", status_of(check, question(body=b"a" * 4096), compression=grpc.Compression.Gzip), "UNIMPLEMENTED")
        expect("a large message", status_of(check, question(body=b"a" * 900_000)), "OK")
        expect("one too large", status_of(check, question(body=b"a" * 2_000_000)), "RESOURCE_EXHAUSTED")
        expect("another operation", status_of(elsewhere, b""), "UNIMPLEMENTED")
        many = question(**{f"a{number}": "b" for number in range(200)})
        expect("many headers", check(many).denied_response.status.code, 500)
        expect("a large head", status_of(raw, b"", metadata=[("a", "b" * 60_000)]) == "OK", False)

        # More at one time than are let in.
        asked = [check.future(question("127.0.0.10"), timeout=60) for _ in range(2_000)]
        expect("many at one time", {answer.result().denied_response.status.code for answer in asked}, {403})


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head(**fields):
    """Headers without any compression."""
    block = b""
    for name, text in {":method": "POST", ":scheme": "http", ":path": METHOD, ":authority": "gate", **fields}.items():
        block += b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(text)]) + text.encode()
    return block


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
GRPC = {"content-type": "application/grpc", "te": "trailers"}
GOOD = (lambda message: b"\0" + struct.pack(">I", len(message)) + message)(question("127.0.0.10").SerializeToString())


def send(*frames):
    """What comes back until the gate has answered the stream, or ends the connection."""
    with socket.create_connection(("127.0.0.1", PORT), 20) as connection:
        try:
            connection.sendall(b"".join(frames))
        except OSError:
            pass
        received = b""
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionResetError:
                return received
            if not part:
                return received
            received += part
            at = 0
            while at + 9 <= len(received):
                length = int.from_bytes(received[at : at + 3], "big")
                kind, flags, stream = received[at + 3], received[at + 4], int.from_bytes(received[at + 5 : at + 9], "big")
                if at + 9 + length > len(received):
                    break
                # The end of a stream, one that was reset, or the end of the connection.
                if (stream and kind in (0, 1) and flags & 1) or kind in (3, 7):
                    return received
                at += 9 + length


def by_hand():
    answer = send(PREFACE, frame(1, 4, 1, head(**GRPC)), frame(0, 1, 1, GOOD))
    expect("a good question", b"Access refused" in answer, True)
    split = [frame(0, 0, 1, GOOD[at : at + 1]) for at in range(len(GOOD))]
    answer = send(PREFACE, frame(1, 4, 1, head(**GRPC)), *split, frame(0, 1, 1))
    expect("in single bytes", b"Access refused" in answer, True)
    for what, data in {
        "no message": b"",
        "a prefix that is cut off": GOOD[:3],
        "a message that is cut off": GOOD[:-1],
        "two messages": GOOD + GOOD,
        "a length that lies": b"\0\xff\xff\xff\xff" + GOOD[5:],
    }.items():
        answer = send(PREFACE, frame(1, 4, 1, head(**GRPC)), frame(0, 1, 1, data))
        expect(what, b"Access refused" in answer or b"clean" in answer, False)
    for what, fields in {
        "another type": {**GRPC, "content-type": "text/plain"},
        "no type": {"te": "trailers"},
        "another method": {**GRPC, ":method": "GET"},
    }.items():
        answer = send(PREFACE, frame(1, 4, 1, head(**fields)), frame(0, 1, 1, GOOD))
        expect(what, b"this port speaks gRPC" in answer, True)
    # What is no HTTP/2 at all, and frames that break its rules: the connection ends.
    for what, frames in {
        "HTTP/1": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
        "noise": [bytes(range(256)) * 10],
        "a frame that is too large": [PREFACE, struct.pack(">I", 0xFFFFFF)[1:] + bytes([0, 0]) + struct.pack(">I", 1) + b"x" * 100_000],
        "data before a head": [PREFACE, frame(0, 1, 1, GOOD)],
        "an even stream": [PREFACE, frame(1, 4, 2, head(**GRPC))],
        "a head that is no head": [PREFACE, frame(1, 4, 1, b"\xff" * 200)],
    }.items():
        expect(what, b"Access refused" in send(*frames), False)
    # Streams that are given up at once, and connections that go in the middle of something.
    resets = [frame(1, 4, number, head(**GRPC)) + frame(3, 0, number, struct.pack(">I", 8)) for number in range(1, 4001, 2)]
    send(PREFACE, *resets, frame(6, 0, 0, b"12345678"), frame(1, 4, 4001, head(**GRPC)), frame(0, 1, 4001, GOOD))
    for end in range(0, len(PREFACE) + 120, 7):
        whole = PREFACE + frame(1, 4, 1, head(**GRPC)) + frame(0, 1, 1, GOOD)
        with socket.create_connection(("127.0.0.1", PORT), 20) as connection:
            connection.sendall(whole[:end])


client()
by_hand()
client()
