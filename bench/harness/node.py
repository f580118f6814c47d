"""A node of either make, started in a folder of its own: configuration, keys, requests, what it used.

Both makes get the same configuration, rules and profiles, and are asked over HTTP with the same requests. Nothing
leaves the machine: no central API is configured.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

KEY = "k" * 32
MACHINE, PASSWORD = "bench", "a secret of the bench"
START_SECONDS = 300
TICKS = os.sysconf("SC_CLK_TCK")

CONFIG = """\
common:
  daemonize: false
  log_media: stdout
  log_level: {log_level}
config_paths:
  config_dir: {folder}/
  data_dir: {folder}/data/
  hub_dir: {folder}/hub/
  index_path: {folder}/hub/.index.json
  simulation_path: {folder}/simulation.yaml
  notification_dir: {folder}/notifications/
  plugin_dir: {folder}/plugins/
crowdsec_service:
  enable: {agent}
  acquisition_path: {folder}/acquis.yaml
  parser_routines: 1
cscli:
  output: json
db_config:
  type: sqlite
  db_path: {folder}/data/node.db
  use_wal: true
  flush:
    max_items: 100000000
    max_age: 7d
api:
  client:
    insecure_skip_verify: false
    credentials_path: {folder}/credentials.yaml
  server:
    enable: true
    listen_uri: 127.0.0.1:{port}
    log_level: {log_level}
    profiles_path: {folder}/profiles.yaml
    console_path: {folder}/console.yaml
    trusted_ips: [127.0.0.1]
prometheus:
  enabled: true
  level: full
  listen_addr: 127.0.0.1
  listen_port: {metrics}
{own}"""

PROFILES = """\
name: all
filters:
  - Alert.Remediation == true && Alert.GetScope() == 'Ip'
decisions:
  - type: ban
    duration: 4h
on_success: break
"""

# Takes every line for an address that has done something.
DEMO_PARSER = """\
name: demo/addresses
filter: evt.Line.Labels.type == 'demo'
onsuccess: next_stage
statics:
  - meta: source_ip
    expression: evt.Line.Raw
  - meta: service
    value: demo
"""

DEMO_SCENARIO = """\
type: trigger
name: demo/seen
description: an address was seen
filter: evt.Meta.service == 'demo'
groupby: evt.Meta.source_ip
labels:
  service: demo
  remediation: true
"""

DEMO_RULES = {"parsers/s00-raw/demo.yaml": DEMO_PARSER, "scenarios/demo.yaml": DEMO_SCENARIO}


class NodeFailed(RuntimeError):
    """The node did not do what it must; the end of its log says why."""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Usage:
    """Processor seconds and memory of a process, from the kernel."""

    def __init__(self, pid):
        self.pid = pid
        self.cpu_before, self.wall_before = self.cpu(), time.monotonic()

    def cpu(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, what):
        """`VmHWM`, the most, or `VmRSS`, what it is now; in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", status).group(1)) / 1024

    def since(self):
        """Wall and processor seconds since this was made."""
        return time.monotonic() - self.wall_before, self.cpu() - self.cpu_before


class Node:
    """`make` is `testudo` or `crowdsec`; `program` its binary; `tool` the administration command."""

    def __init__(self, make, program, tool, folder, *, rules=None, profiles=PROFILES, acquisition="", agent=True,
                 own="", log_level="warning"):
        self.make, self.program, self.tool = make, Path(program), Path(tool)
        self.folder = Path(folder)
        self.port, self.metrics_port = free_port(), free_port()
        self.process = None
        self.log = self.folder / "node.log"
        self.agent = agent
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("data", "hub", "logs", "notifications", "plugins", "patterns", "parsers/s00-raw", "scenarios"):
            (self.folder / name).mkdir(parents=True)
        self.write("patterns/none", "")
        self.write("hub/.index.json", '{"collections":{},"parsers":{},"postoverflows":{},"scenarios":{}}')
        self.write("simulation.yaml", "simulation: false\n")
        self.write("console.yaml", "share_manual_decisions: false\n")
        self.write("acquis.yaml", acquisition.format(folder=self.folder))
        self.write("profiles.yaml", profiles)
        self.write("credentials.yaml", f"url: http://127.0.0.1:{self.port}/\nlogin: {MACHINE}\npassword: {PASSWORD}\n")
        for path, text in (rules or DEMO_RULES).items():
            self.write(path, text)
        own = own if make == "testudo" else ""
        self.write("config.yaml", CONFIG.format(folder=self.folder, port=self.port, metrics=self.metrics_port,
                                                agent=str(agent).lower(), own=own, log_level=log_level))
        if make == "testudo":
            # Under this name, the binary takes the commands of the reference.
            self.tool = self.folder / "cscli"
            self.tool.symlink_to(self.program.resolve())

    def write(self, path, text):
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def cscli(self, *arguments, timeout=120):
        done = subprocess.run([self.tool, "-c", self.folder / "config.yaml", *arguments], capture_output=True, text=True,
                              timeout=timeout)
        if done.returncode != 0:
            raise NodeFailed(f"cscli {' '.join(arguments)}: {done.stderr[-500:]}{done.stdout[-500:]}")
        return done.stdout

    def enrol(self, bouncers=1):
        """A machine for the agent and for posts, and bouncers `bench-0` … with keys `key(0)` …."""
        self.cscli("machines", "add", MACHINE, "--password", PASSWORD, "-f", str(self.folder / "credentials.yaml"), "--force")
        self.write("credentials.yaml", f"url: http://127.0.0.1:{self.port}/\nlogin: {MACHINE}\npassword: {PASSWORD}\n")
        self.cscli("bouncers", "add", "bench-0", "-k", key(0))
        if bouncers > 1:
            self.copy_bouncers(bouncers)

    def copy_bouncers(self, count):
        """More bouncers, each with its own key, as rows like that of the first: a command for each would take minutes."""
        import hashlib
        with contextlib.closing(sqlite3.connect(self.folder / "data/node.db")) as database, database:
            columns = [row[1] for row in database.execute("PRAGMA table_info(bouncers)")]
            row = database.execute("SELECT * FROM bouncers WHERE name = 'bench-0'").fetchone()
            hash_column = "key_hash" if "key_hash" in columns else "api_key"
            for number in range(1, count):
                values = dict(zip(columns, row))
                values |= {"id": row[columns.index("id")] + number, "name": f"bench-{number}",
                           hash_column: hashlib.sha512(key(number).encode()).hexdigest()}
                marks = ",".join("?" * len(columns))
                database.execute(f"INSERT INTO bouncers ({','.join(columns)}) VALUES ({marks})", list(values.values()))

    def start(self, wait=True):
        config = str(self.folder / "config.yaml")
        command = [self.program, "run", "-c", config] if self.make == "testudo" else [self.program, "-c", config]
        self.process = subprocess.Popen(command, stdout=open(self.log, "ab"), stderr=subprocess.STDOUT, cwd=self.folder)
        self.usage = Usage(self.process.pid)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=START_SECONDS):
        """Until the API answers a bouncer's question."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise NodeFailed(f"{self.make} ended with {self.process.returncode}:\n{self.told()}")
            try:
                status, _ = self.get("/v1/decisions?ip=192.0.2.255", timeout=seconds)
                if status == 200:
                    return
                raise NodeFailed(f"{self.make} answered {status}\n{self.told()}")
            except OSError:
                time.sleep(0.01)
        raise NodeFailed(f"{self.make} did not become ready:\n{self.told()}")

    def told(self):
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def stop(self, how=signal.SIGTERM, seconds=60):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise NodeFailed(f"{self.make} did not end in {seconds} s:\n{self.told()}") from None
        return self.process.returncode if self.process else None

    def close(self):
        with contextlib.suppress(NodeFailed):
            self.stop()

    def connection(self, timeout=600):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def get(self, path, number=0, timeout=600, headers=None):
        """Asks as a bouncer."""
        with contextlib.closing(self.connection(timeout)) as connection:
            connection.request("GET", path, headers={"X-Api-Key": key(number), "User-Agent": "bench/v1.0"} | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()

    def token(self):
        body = json.dumps({"machine_id": MACHINE, "password": PASSWORD, "scenarios": []})
        return self.ask("POST", "/v1/watchers/login", body, {})["token"]

    def ask(self, method, path, body="", headers=None, timeout=1200):
        """Asks as a machine, or with other headers; the answer's JSON."""
        if headers is None:
            headers = {"Authorization": f"Bearer {self.token()}"}
        with contextlib.closing(self.connection(timeout)) as connection:
            headers = {"Content-Type": "application/json", "User-Agent": "bench/v1.0"} | headers
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise NodeFailed(f"{method} {path}: {answer.status} {text[:300]!r}")
            return json.loads(text or "null")

    def banned(self):
        """The values of the decisions in force."""
        status, body = self.get("/v1/decisions")
        return {decision["value"] for decision in json.loads(body) or []} if status == 200 else set()

    def metrics(self):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()


def key(number):
    return f"{number:032}"


def alert(values, *, duration="4h", scenario="bench/import", origin="cscli", now=None):
    """An alert with a decision about each value, as tools post it."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now or time.time()))
    decisions = [{"duration": duration, "origin": origin, "scenario": scenario, "scope": "Ip", "type": "ban", "value": value}
                 for value in values]
    return {"capacity": 0, "decisions": decisions, "events": [], "events_count": 1, "leakspeed": "0", "message": "bench",
            "scenario": scenario, "scenario_hash": "", "scenario_version": "", "simulated": False,
            "source": {"scope": "Ip", "value": values[0], "ip": values[0]}, "start_at": stamp, "stop_at": stamp}


# First bytes of public addresses; whole networks of a machine's own are not among them.
FIRST = [byte for byte in range(11, 210) if byte not in (100, 127, 169, 172, 192, 198, 203)]


def addresses(count, start=0):
    """Addresses that are all different, spread over the public space."""
    found = []
    for number in range(start, start + count):
        # An odd factor permutes the 24 bits.
        low = number // len(FIRST) * 2654435761 & 0xFFFFFF
        found.append(f"{FIRST[number % len(FIRST)]}.{low >> 16}.{low >> 8 & 255}.{low & 255}")
    return found


def find(work, binary):
    """The makes that are here: name, program, tool."""
    found = [("testudo", Path(binary), Path(binary))]
    for root in (Path("/"), Path(work)):
        program, tool = root / "usr/bin/crowdsec", root / "usr/bin/cscli"
        if program.exists() and tool.exists():
            found.append(("crowdsec", program, tool))
            break
    return found
