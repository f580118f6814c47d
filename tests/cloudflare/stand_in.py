"""A stand-in for the API of Cloudflare: a real HTTP server that keeps to the documented rules, and can be told to misbehave.

It knows tokens, envelopes, lists with their asynchronous bulk operations, custom rules, Workers KV and the security level
of zones. What it enforces: so many requests in a window, then a block; one pending bulk operation for the whole account;
items of a list, networks that are too wide, duplicates; pairs of a bulk write, one write a second for each key, expirations
of at least a minute, daily budgets; no deletion of a list that a rule refers to; rules that refer to lists that are there.

What is not documented, such as numbers of errors, is made up.
"""

import argparse
import http.server
import ipaddress
import json
import random
import re
import ssl
import threading
import time
import urllib.parse

PHASE = "http_request_firewall_custom"
LEVELS = ("off", "essentially_off", "low", "medium", "high", "under_attack")
ACTIONS = ("block", "managed_challenge", "js_challenge", "challenge", "log", "skip")
PAIRS_MOST = 10_000
RULES_MOST = 5
EXPRESSION_MOST = 4_096


class Refused(Exception):
    def __init__(self, status, message, code=10_000, headers=None):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


class Fault:
    """What is done instead of, or after, answering: the next `times` requests that match."""

    def __init__(self, kind, match, times=1, after=0, value=None):
        self.kind, self.match, self.times, self.after, self.value = kind, re.compile(match), times, after, value


class StandIn:
    def __init__(self, *, token="t0ken", account="a" * 32, zones=("1" * 32,), namespace="b" * 32, requests=1_200,
                 window=300.0, block=300.0, capacity=10_000, lists=10, operation_seconds=0.05, kv_writes=1_000,
                 kv_deletes=1_000, seed=7):
        self.token, self.account, self.namespace = token, account, namespace
        self.requests, self.window, self.block = requests, window, block
        self.capacity, self.lists_most, self.operation_seconds = capacity, lists, operation_seconds
        self.kv_writes_left, self.kv_deletes_left = kv_writes, kv_deletes
        self.random = random.Random(seed)
        self.lock = threading.RLock()
        self.lists, self.items, self.operations = {}, {}, {}
        self.pending = None
        self.rulesets = {zone: None for zone in zones}
        self.levels = {zone: "medium" for zone in zones}
        self.level_changes = []
        self.pairs, self.written_at = {}, {}
        self.times, self.blocked_until = [], 0.0
        self.log, self.faults, self.broken_rules = [], [], []
        self.number = 0
        self.figure = 0.0
        self.server = None

    # What tests do and ask.

    def start(self, port=0, certificate=None):
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def handle_any(self):
                stand_in.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Whoever was killed, or asks over a connection that he does not trust, is gone in the middle."""

        self.server = Server(("127.0.0.1", port), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}/client/v4"
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def fault(self, *arguments, **keywords):
        with self.lock:
            self.faults.append(Fault(*arguments, **keywords))

    def contents(self, name):
        """The items of a list by its name: address to comment; nothing where there is no such list."""
        with self.lock:
            self.settle()
            for identity, one in self.lists.items():
                if one["name"] == name:
                    return {item["ip"]: item.get("comment", "") for item in self.items[identity].values()}
            return None

    def live_pairs(self):
        with self.lock:
            now = time.time()
            return {key: pair["value"] for key, pair in self.pairs.items() if pair["expiration"] is None or pair["expiration"] > now}

    def rules(self, zone):
        with self.lock:
            ruleset = self.rulesets[zone]
            return [dict(rule) for rule in ruleset["rules"]] if ruleset else []

    def counted(self, since=0):
        """Requests since a mark: method and path with identities taken out."""
        with self.lock:
            return [(method, re.sub(r"[0-9a-f]{32}", "ID", path)) for method, path, _ in self.log[since:]]

    def identity(self):
        self.number += 1
        return f"{self.random.getrandbits(96):024x}{self.number:08x}"

    # How requests are answered.

    def handle(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length) if length else b""
        parts = urllib.parse.urlsplit(handler.path)
        if parts.path == "/metrics":
            return self.send(handler, 200, f"# TYPE figure gauge\nfigure {self.figure}\n".encode(), kind="text/plain")
        query = dict(urllib.parse.parse_qsl(parts.query))
        fault = self.take_fault(f"{handler.command} {parts.path}")
        if fault and fault.kind == "stall":
            time.sleep(fault.value or 60)
            handler.close_connection = True
            return None
        if fault and fault.kind == "late":
            time.sleep(fault.value)
        if fault and fault.kind == "missing":
            return self.send(handler, 404, self.envelope(errors=[(1_001, "Invalid zone identifier")]))
        if fault and fault.kind == "status":
            return self.send(handler, fault.value, b"<html>sorry</html>", kind="text/html")
        if fault and fault.kind == "busy":
            headers = {} if fault.value is None else {"Retry-After": str(fault.value)}
            return self.send(handler, 429, self.envelope(errors=[(10_013, "more than enough")]), headers=headers)
        try:
            with self.lock:
                self.admit(handler.headers.get("Authorization"))
                self.log.append((handler.command, parts.path, time.monotonic()))
                result, info = self.answer(handler.command, parts.path.removeprefix("/client/v4/"), query, body, fault)
            status, text, headers = 200, self.envelope(result, info), {}
        except Refused as refused:
            with self.lock:
                # Asking for what is not there is no offence.
                if (handler.command, refused.status) != ("GET", 404):
                    self.broken_rules.append((handler.command, parts.path, refused.status, refused.message))
            status, headers = refused.status, refused.headers
            text = self.envelope(errors=[(refused.code, refused.message)])
        if fault and fault.kind == "garbage":
            text = b'{"success": tru'
        if fault and fault.kind == "unsuccessful":
            text = self.envelope(errors=[(10_099, "not today")])
        if fault and fault.kind == "truncate":
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text[: len(text) // 2])
            handler.close_connection = True
            return None
        if fault and fault.kind == "lose":
            handler.close_connection = True
            return None
        return self.send(handler, status, text, headers=headers)

    def take_fault(self, what):
        with self.lock:
            for fault in self.faults:
                if fault.match.search(what):
                    if fault.after > 0:
                        fault.after -= 1
                        return None
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
        return None

    @staticmethod
    def send(handler, status, text, kind="application/json", headers=None):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(text)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text)

    @staticmethod
    def envelope(result=None, info=None, errors=()):
        errors = [{"code": code, "message": message} for code, message in errors]
        whole = {"result": result, "success": not errors, "errors": errors, "messages": []}
        if info is not None:
            whole["result_info"] = info
        return json.dumps(whole).encode()

    def admit(self, authorization):
        if authorization != f"Bearer {self.token}":
            raise Refused(403, "Authentication error")
        now = time.monotonic()
        if now < self.blocked_until:
            raise Refused(429, "Rate limited: more requests than allowed", 971, {"Retry-After": str(int(self.blocked_until - now) + 1)})
        self.times = [at for at in self.times if at > now - self.window]
        if len(self.times) >= self.requests:
            self.blocked_until = now + self.block
            raise Refused(429, "Rate limited: more requests than allowed", 971, {"Retry-After": str(int(self.block) + 1)})
        self.times.append(now)

    def answer(self, method, path, query, body, fault):
        routes = [
            (r"accounts/(\w+)/rules/lists", self.all_lists),
            (r"accounts/(\w+)/rules/lists/bulk_operations/(\w+)", self.operation),
            (r"accounts/(\w+)/rules/lists/(\w+)", self.one_list),
            (r"accounts/(\w+)/rules/lists/(\w+)/items", self.list_items),
            (rf"zones/(\w+)/rulesets/phases/{PHASE}/entrypoint", self.entrypoint),
            (r"zones/(\w+)/rulesets", self.all_rulesets),
            (r"zones/(\w+)/rulesets/(\w+)/rules", self.all_rules),
            (r"zones/(\w+)/rulesets/(\w+)/rules/(\w+)", self.one_rule),
            (r"zones/(\w+)/settings/security_level", self.level),
            (r"accounts/(\w+)/storage/kv/namespaces/(\w+)/(bulk|bulk/delete|keys)", self.kv),
        ]
        for pattern, action in routes:
            if found := re.fullmatch(pattern, path):
                owner, *rest = found.groups()
                if path.startswith("accounts/") and owner != self.account or path.startswith("zones/") and owner not in self.levels:
                    raise Refused(403, "no route for that account or zone", 7_003)
                try:
                    written = json.loads(body) if body else None
                except ValueError:
                    raise Refused(400, "the body is no JSON", 9_207) from None
                owner = [] if path.startswith("accounts/") else [owner]
                done = action(method, *owner, *rest, query=query, body=written, fault=fault)
                return done if isinstance(done, tuple) else (done, None)
        raise Refused(404, f"no route for {path}", 7_000)

    # Lists.

    def settle(self):
        """Ends the operation that is on its way, if its time has come."""
        operation = self.operations.get(self.pending)
        if not operation or operation["status"] not in ("pending", "running"):
            return
        now = time.monotonic()
        if now < operation["at"] / 2 + operation["begun"] / 2:
            return
        operation["status"] = "running"
        if now < operation["at"]:
            return
        self.pending = None
        if operation["fails"]:
            operation.update(status="failed", error="something went wrong")
            return
        try:
            operation["apply"]()
            operation["status"] = "completed"
        except Refused as refused:
            operation.update(status="failed", error=refused.message)
            self.broken_rules.append(("operation", "", refused.status, refused.message))

    def begin(self, apply, fault):
        self.settle()
        if self.pending:
            raise Refused(429, "there is a pending bulk operation for this account", 10_021)
        identity, now = self.identity(), time.monotonic()
        stuck = 10_000 if fault and fault.kind == "stuck" else 0
        self.operations[identity] = {"status": "pending", "apply": apply, "begun": now, "at": now + self.operation_seconds + stuck,
                                     "fails": bool(fault and fault.kind == "fail")}
        self.pending = identity
        return {"operation_id": identity}

    def shown(self, identity):
        return self.lists[identity] | {"id": identity, "num_items": len(self.items[identity])}

    def all_lists(self, method, query, body, fault):
        self.settle()
        if method == "GET":
            return [self.shown(identity) for identity in self.lists]
        if method != "POST":
            raise Refused(405, "method not allowed")
        if not re.fullmatch(r"[a-z0-9_]{1,50}", body.get("name", "")) or body.get("kind") != "ip":
            raise Refused(400, "invalid name or kind", 10_002)
        if any(one["name"] == body["name"] for one in self.lists.values()):
            raise Refused(400, "a list with this name exists", 10_004)
        if len(self.lists) >= self.lists_most:
            raise Refused(400, "the account has its most lists", 10_005)
        identity = self.identity()
        self.lists[identity] = {"name": body["name"], "kind": "ip", "description": body.get("description", "")}
        self.items[identity] = {}
        return self.shown(identity)

    def one_list(self, method, identity, query, body, fault):
        self.settle()
        if identity not in self.lists:
            raise Refused(404, "no such list", 10_001)
        if method == "DELETE":
            name = self.lists[identity]["name"]
            if any(f"${name}" in rule["expression"] for ruleset in self.rulesets.values() if ruleset for rule in ruleset["rules"]):
                raise Refused(400, "the list is referenced by a rule", 10_006)
            del self.lists[identity], self.items[identity]
            return {"id": identity}
        return self.shown(identity)

    @staticmethod
    def normal(text):
        try:
            net = ipaddress.ip_network(text, strict=True)
        except (ValueError, TypeError):
            raise Refused(400, f"{text!r} is no address and no network", 10_007) from None
        if not (8 if net.version == 4 else 12) <= net.prefixlen:
            raise Refused(400, f"{text} is too wide", 10_008)
        return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)

    def list_items(self, method, identity, query, body, fault):
        self.settle()
        if identity not in self.lists:
            raise Refused(404, "no such list", 10_001)
        items = self.items[identity]
        if method == "GET":
            most = int(query.get("per_page", 25))
            if not 1 <= most <= 500:
                raise Refused(400, "per_page is from 1 to 500", 10_009)
            # In no order that means anything, and another one than they came in.
            found = sorted((item for item in items.values() if query.get("search", "") in item["ip"]), key=lambda item: item["id"][::-1])
            at = int(query.get("cursor") or 0)
            info = {"cursors": {"after": str(at + most)}} if at + most < len(found) else {"cursors": {}}
            return found[at : at + most], info
        if method == "POST":
            wanted = [(self.normal(item["ip"]), item.get("comment", "")) for item in body]
            if len({ip for ip, _ in wanted}) != len(wanted):
                raise Refused(400, "duplicates in the request", 10_010)

            def add():
                there = {item["ip"] for item in items.values()}
                if twice := there & {ip for ip, _ in wanted}:
                    raise Refused(400, f"{sorted(twice)[0]} is in the list already", 10_011)
                if len(items) + len(wanted) > self.capacity:
                    raise Refused(400, "the list would have too many items", 10_012)
                for ip, comment in wanted:
                    one = self.identity()
                    items[one] = {"id": one, "ip": ip, "comment": comment}

            return self.begin(add, fault)
        if method == "DELETE":
            ids = [item["id"] for item in body["items"]]
            if missing := [one for one in ids if one not in items]:
                raise Refused(400, f"no such item: {missing[0]}", 10_014)
            return self.begin(lambda: [items.pop(one, None) for one in ids], fault)
        raise Refused(400, "replacing a whole list is not what a difference needs", 10_015)

    def operation(self, method, identity, query, body, fault):
        self.settle()
        if identity not in self.operations:
            raise Refused(404, "no such operation", 10_016)
        known = self.operations[identity]
        return {"id": identity, "status": known["status"], "error": known.get("error", "")}

    # Rules.

    def entrypoint(self, method, zone, query, body, fault):
        if self.rulesets[zone] is None:
            raise Refused(404, "could not find entrypoint ruleset", 10_003)
        return self.rulesets[zone]

    def checked(self, rule, known=None):
        rule = (known or {"id": self.identity(), "enabled": True, "ref": ""}) | rule
        if rule["action"] not in ACTIONS or not rule["expression"] or len(rule["expression"]) > EXPRESSION_MOST:
            raise Refused(400, "not a valid rule", 20_021)
        for name in re.findall(r"\$(\w+)", rule["expression"]):
            if all(one["name"] != name for one in self.lists.values()):
                raise Refused(400, f"there is no list {name}", 20_022)
        return rule

    def all_rulesets(self, method, zone, query, body, fault):
        if method != "POST" or body.get("phase") != PHASE or body.get("kind") != "zone":
            raise Refused(400, "not a set of rules", 20_023)
        if self.rulesets[zone] is not None:
            raise Refused(400, "there is an entrypoint already", 20_024)
        self.rulesets[zone] = {"id": self.identity(), "phase": PHASE, "rules": [self.checked(rule) for rule in body["rules"]]}
        return self.rulesets[zone]

    def ruleset(self, zone, identity):
        known = self.rulesets[zone]
        if known is None or known["id"] != identity:
            raise Refused(404, "no such set of rules", 10_003)
        return known

    def all_rules(self, method, zone, identity, query, body, fault):
        known = self.ruleset(zone, identity)
        if len(known["rules"]) >= RULES_MOST:
            raise Refused(400, "the zone has its most rules", 20_025)
        if body.get("ref") and any(rule["ref"] == body["ref"] for rule in known["rules"]):
            raise Refused(400, "there is such a reference already", 20_026)
        known["rules"].append(self.checked(body))
        return known

    def one_rule(self, method, zone, identity, rule, query, body, fault):
        known = self.ruleset(zone, identity)
        at = next((at for at, one in enumerate(known["rules"]) if one["id"] == rule), None)
        if at is None:
            raise Refused(404, "no such rule", 10_003)
        if method == "DELETE":
            del known["rules"][at]
        elif method == "PATCH":
            known["rules"][at] = self.checked(body, known["rules"][at])
        return known

    # Security levels.

    def level(self, method, zone, query, body, fault):
        if method == "PATCH":
            if body.get("value") not in LEVELS:
                raise Refused(400, "invalid value for zone setting", 1_007)
            self.levels[zone] = body["value"]
            self.level_changes.append((time.monotonic(), zone, body["value"]))
        return {"id": "security_level", "value": self.levels[zone], "editable": True, "modified_on": "2026-11-01T00:00:00Z"}

    # Workers KV.

    def kv(self, method, namespace, what, query, body, fault):
        if namespace != self.namespace:
            raise Refused(404, "no such namespace", 10_013)
        now = time.time()
        self.pairs = {key: pair for key, pair in self.pairs.items() if pair["expiration"] is None or pair["expiration"] > now}
        if method == "GET" and what == "keys":
            most = int(query.get("limit", 1_000))
            names = sorted(self.pairs)
            at = int(query.get("cursor") or 0)
            page = [{"name": name} | {field: self.pairs[name][field] for field in ("expiration", "metadata") if self.pairs[name][field]}
                    for name in names[at : at + most]]
            return page, {"count": len(page), "cursor": str(at + most) if at + most < len(names) else ""}
        if method == "PUT" and what == "bulk":
            if len(body) > PAIRS_MOST:
                raise Refused(400, "too many pairs", 10_021)
            if len(body) > self.kv_writes_left:
                raise Refused(429, "the daily limit of writes is used up", 10_048)
            unwritten = []
            for pair in body:
                if pair.get("expiration") is not None and pair["expiration"] < now + 60 - 2:
                    raise Refused(400, "the expiration is less than 60 seconds ahead", 10_022)
                if not isinstance(pair["value"], str) or len(pair["key"]) > 512:
                    raise Refused(400, "not a pair", 10_023)
                if self.written_at.get(pair["key"], 0) > now - 1:
                    unwritten.append(pair["key"])
                    self.broken_rules.append(("PUT", "bulk", 429, f"{pair['key']} was written less than a second ago"))
                    continue
                if fault and fault.kind == "partial" and self.random.random() < 0.5:
                    unwritten.append(pair["key"])
                    continue
                self.written_at[pair["key"]] = now
                self.kv_writes_left -= 1
                self.pairs[pair["key"]] = {"value": pair["value"], "expiration": pair.get("expiration"), "metadata": pair.get("metadata")}
            return {"successful_key_count": len(body) - len(unwritten), "unsuccessful_keys": unwritten}
        if method == "POST" and what == "bulk/delete":
            if len(body) > PAIRS_MOST:
                raise Refused(400, "too many keys", 10_021)
            if len(body) > self.kv_deletes_left:
                raise Refused(429, "the daily limit of deletions is used up", 10_048)
            self.kv_deletes_left -= len(body)
            for key in body:
                self.pairs.pop(key, None)
            return {"successful_key_count": len(body), "unsuccessful_keys": []}
        raise Refused(405, "method not allowed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8787)
    args = parser.parse_args()
    stand_in = StandIn().start(args.port)
    print(f"cloudflare_url: {stand_in.url}\ntoken: {stand_in.token}\naccount: {stand_in.account}\n"
          f"zone: {next(iter(stand_in.levels))}\nnamespace: {stand_in.namespace}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
