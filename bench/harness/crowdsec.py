"""Debian's crowdsec as a contender: one run over a log, with as many of the hub's rules as it accepts.

Debian's version is years older than the hub. Rules are copied into a configuration made for the run, with
labels that it cannot read taken out (they say nothing about detection), and rules that it refuses are left out
one after the other, until it starts. Instead of its own API it is given one that only counts, so that no
database is in its figures and nothing leaves the machine.
"""

import contextlib
import hashlib
import http.server
import json
import os
import re
import shutil
import threading
import time
from pathlib import Path

from . import children

# Kinds of items that this version knows.
KINDS = ("parsers", "scenarios", "postoverflows")

# What a refusal may take: finding all refused rules of a whole hub means starting it again and again.
REFUSAL_SECONDS = 300
TEST_SECONDS = 60

# What error messages say against a rule, and how to know the other rules that it is true of.
TELLING = (
    (re.compile(r"unknown (?:name|func) (\w+)"), r"\b%s *\("),
    (re.compile(r"field (\w+) not found in type"), r"(?m)^[ -]*%s[ ]*:"),
    (re.compile(r"unrecognized character: (U\+003B)"), r"\blet \w+ ?=(?#%s)"),
)

# How a configuration without logs ends once all rules are loaded.
RULES_ARE_GOOD = "while loading acquisition config"

LABELS = re.compile(r"(?m)^labels:[^\n]*\n(?:[ \t]+[^\n]*\n|- [^\n]*\n|\s*\n)*")
SCALAR = re.compile(r"^\s+[\w-]+:\s+[^\s\[{&|>#][^\n]*$")
# Keys of `data` that tune a cache, in an indented entry.
CACHE = re.compile(r"(?m)^[ \t]+(?:cache|strategy|size|ttl):[^\n]*\n")
SOURCE = re.compile(r"source_url:\s*['\"]?([^\s'\"]+)")
DESTINATION = re.compile(r"dest_file:\s*['\"]?([^\s'\"]+)")


class CountingApi:
    """Speaks as much of the local API as an engine needs to report, and keeps the alerts' names."""

    def __init__(self):
        self.alerts = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, body, code=200):
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
                if self.path.endswith("/login"):
                    self.answer({"code": 200, "expire": "2099-01-01T00:00:00Z", "token": "a.b.c"})
                    return
                if self.path.endswith("/alerts"):
                    api.alerts += [(a.get("scenario"), (a.get("source") or {}).get("value")) for a in body or ()]
                self.answer(["1"], 201)

            def do_GET(self):
                self.answer(None)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self):
        """The alerts since the last call, sorted."""
        alerts, self.alerts = self.alerts, []
        return sorted((str(scenario), str(source)) for scenario, source in alerts)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def simplified(text):
    """The rule without what an old version cannot read and detection does not need: labels that are not single
    values, and how its data files are cached."""

    def plain(match):
        kept = ["  " + line.strip() for line in match.group(0).splitlines()[1:] if SCALAR.match(line)]
        return "\n".join(["labels:", *(kept or ["  remediation: true"])]) + "\n"

    return CACHE.sub("", LABELS.sub(plain, text if text.endswith("\n") else text + "\n"))


class Crowdsec:
    """A version of it, with the rules of one set."""

    def __init__(self, package, hub, lists, databases, folder, log):
        self.package = package
        self.hub = hub
        self.folder = Path(folder)
        self.lists = Path(lists)
        self.databases = Path(databases)
        self.log = log
        # Names of rules that it refuses, with the reason; and of those that the package has an older form of,
        # which runs instead.
        self.refused = {}
        self.older = {}
        self.loaded = {}
        self.api = None

    def argv(self, kind, log):
        return [self.package.binary("crowdsec"), "-c", self.folder / "config.yaml", "-type", kind,
                "-dsn", f"file://{log}", "-no-api"]

    def prepare(self, items, refusals):
        """Writes the configuration for these items of the hub. `refusals`: a file with what is known already."""
        shutil.rmtree(self.folder, ignore_errors=True)
        config = self.folder / "config"
        data = self.folder / "data"
        data.mkdir(parents=True)
        (self.folder / "hub").mkdir()
        shutil.copytree(self.package.path("/etc/crowdsec/patterns"), config / "patterns")
        for kind in KINDS:
            (config / kind).mkdir(parents=True, exist_ok=True)
        (self.folder / "hub/.index.json").write_text(json.dumps({kind: {} for kind in KINDS + ("collections",)}))
        (config / "simulation.yaml").write_text("simulation: false\n")
        self.api = CountingApi()
        credentials = {"url": self.api.url, "login": "bench", "password": "bench"}
        (config / "credentials.yaml").write_text(json.dumps(credentials))
        (self.folder / "config.yaml").write_text(json.dumps({
            "common": {"daemonize": False, "log_media": "stdout", "log_level": "info", "working_dir": "."},
            "config_paths": {
                "config_dir": str(config), "data_dir": str(data), "hub_dir": str(self.folder / "hub"),
                "index_path": str(self.folder / "hub/.index.json"),
                "simulation_path": str(config / "simulation.yaml"),
            },
            "crowdsec_service": {"parser_routines": 1},
            "cscli": {"output": "human"},
            "db_config": {"type": "sqlite", "db_path": str(data / "unused.db")},
            "api": {"client": {"credentials_path": str(config / "credentials.yaml")}},
            "prometheus": {"enabled": False},
        }))
        for database in self.databases.glob("*.mmdb"):
            (data / database.name).symlink_to(database.resolve())
        files = {}
        for kind, name, path, text in items:
            if kind == "postoverflows" and "reverse_dns" in text:
                self.refused[name] = "it asks the network for names"
                continue
            stage = Path(path).parts[1] if kind != "scenarios" else ""
            target = config / kind / stage / (name.replace("/", "_") + ".yaml")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(simplified(text))
            files[target] = (name, path)
            self.place_data(text, data)
        self.refuse(files, refusals)

    def place_data(self, text, data):
        """Puts the files that a rule asks for where it looks for them; an empty one where there is none."""
        urls = SOURCE.findall(text)
        for at, name in enumerate(DESTINATION.findall(text)):
            target = data / name
            if target.exists() or ".." in Path(name).parts:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            parts = Path(urls[at] if at < len(urls) else name).parts
            found = [self.lists.joinpath(*parts[-depth:]) for depth in (4, 3, 2)]
            found += sorted(self.lists.rglob(parts[-1])) + sorted(self.lists.rglob(Path(name).name))
            found = [path for path in found if path.is_file()]
            if found:
                target.symlink_to(found[0].resolve())
            else:
                target.touch()

    def refuse(self, files, refusals):
        """Takes rules away until it starts with the rest."""
        texts = {path: path.read_text() for path in files}
        digest = hashlib.sha256(self.package.version.encode())
        for path in sorted(texts):
            digest.update(path.name.encode() + b"\0" + texts[path].encode())
        known = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(Path(refusals).read_text())
        known = known if known.get("of") == digest.hexdigest() else {"of": digest.hexdigest(), "refused": []}

        def leave_out(path, why):
            name, item = files[path]
            known["refused"].append([path.name, why])
            older = self.package.path("/usr/share/crowdsec/hub") / item
            if name not in self.refused and name not in self.older and older.is_file():
                self.older[name] = why
                texts[path] = simplified(older.read_text())
                path.write_text(texts[path])
                self.place_data(texts[path], self.folder / "data")
                return
            self.older.pop(name, None)
            self.refused[name] = why
            path.unlink(missing_ok=True)
            texts.pop(path, None)

        by_name = {path.name: path for path in files}
        refused, known["refused"] = known["refused"], []
        for name, why in refused:
            leave_out(by_name[name], why)
        if not refused:
            self.log(f"crowdsec: looking for the rules that {self.package.version} refuses, of {len(files)}")
        began = time.monotonic()
        report = self.folder / "test.txt"
        while True:
            argv = [self.package.binary("crowdsec"), "-c", self.folder / "config.yaml", "-t"]
            cost = children.run(argv, timeout=TEST_SECONDS, stdout=report, stderr=report.with_suffix(".err"))
            said = report.read_text(errors="replace") + report.with_suffix(".err").read_text(errors="replace")
            if cost.good or RULES_ARE_GOOD in said:
                break
            wrong = [line for line in said.splitlines() if "level=fatal" in line or "level=error" in line]
            against = {path: reason(wrong) for path in texts if names(path.name, files[path][0], wrong)}
            if not against:
                raise RuntimeError(f"crowdsec does not start, and names no rule: {reason(wrong)}")
            for pattern, use in TELLING:
                for word in {word for line in wrong for word in pattern.findall(line)}:
                    uses = re.compile(use % re.escape(word))
                    why = f"it does not know `{shown(word)}`"
                    against |= {path: why for path, text in texts.items() if uses.search(text)}
            for path, why in against.items():
                leave_out(path, why)
            if time.monotonic() - began > REFUSAL_SECONDS:
                raise RuntimeError(f"crowdsec still refuses rules after {REFUSAL_SECONDS} s: {reason(wrong)}")
        Path(refusals).write_text(json.dumps(known, indent=1))
        for kind in KINDS:
            self.loaded[kind] = sum(1 for _ in (self.folder / "config" / kind).rglob("*.yaml"))


def names(file, item, lines):
    """Whether one of the messages is about this file or item."""
    told = re.compile(r"%s|\bname=%s(?![\w/-])" % (re.escape(file), re.escape(item)))
    return any(told.search(line) for line in lines)


def shown(word):
    return ";" if word == "U+003B" else word


def reason(lines):
    """What an error message says, without the part of the rule that it quotes."""
    said = " ".join(lines[-1:]).replace("\\n", "\n").replace('\\"', '"')
    for pattern in (r"([^:|'\n]{3,80}?) \(\d+:\d+\)", r"(field \w+ not found)", r"(cannot unmarshal \S+ into \S+)"):
        found = re.search(pattern, said)
        if found:
            return found.group(1).strip()
    return "it cannot be loaded"


def items_of(hub, collections):
    """Items of a hub as (kind, name, path, text): those of collections and of what these contain, or all."""
    index = json.loads((Path(hub) / ".index.json").read_text())
    wanted = {kind: set() for kind in KINDS}
    if collections is None:
        for kind in KINDS:
            wanted[kind].update(index.get(kind, {}))
    else:
        waiting, seen = list(collections), set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            entry = index["collections"].get(name, {})
            waiting += entry.get("collections") or []
            for kind in KINDS:
                wanted[kind].update(entry.get(kind) or [])
    items = []
    for kind in KINDS:
        for name in sorted(wanted[kind]):
            entry = index[kind].get(name)
            path = Path(hub) / entry["path"] if entry else None
            if path is not None and path.is_file() and os.path.getsize(path):
                items.append((kind, name, entry["path"], path.read_text()))
    return items
