"""What is measured: each contender is a command over a log, with a way to read what it told."""

import hashlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

COLLECTIONS = ("crowdsecurity/nginx", "crowdsecurity/base-http-scenarios", "crowdsecurity/sshd", "crowdsecurity/linux")

# Rule sets: some collections, or the whole hub.
SETS = {"a": COLLECTIONS, "b": None}

# What stands for the present: after the time of the logs, whose dates have no year in part.
NOW = "2026-11-01T00:00:00Z"

YARDSTICKS = ("deflate", "hash")

# The last line of a report for people tells how long it took.
TIMING = re.compile(rb"(?m)^[\d,]+ lines in [\d.]+ s .*$")


@dataclass
class Contender:
    """A command to measure."""

    id: str
    argv: list
    # 0 where the work is not counted in lines.
    lines: int = 0
    # The same with one line: what the start costs.
    start: str = None
    # Measured in some of the rounds only.
    slow: bool = False
    env: dict = None
    # Reads the output, a path: what it told, in a form that can be compared and shown.
    told: object = None
    # What it told must be the same in each run.
    steady: bool = True
    costs: list = field(default_factory=list)
    rounds: list = field(default_factory=list)
    said: list = field(default_factory=list)
    failure: str = None


class Testudo:
    """The program of this project."""

    def __init__(self, binary, shared):
        self.binary = binary
        self.shared = Path(shared)

    def rules(self, rule_set):
        """The options that choose rules and data, which the example `plain` knows too."""
        collections = SETS[rule_set]
        chosen = ["--all"] if collections is None else ["--collections", ",".join(collections)]
        return ["--hub", self.shared / "hub", *chosen, "--data", self.shared / "lists",
                "--data", self.shared / "geo/hub", "--now", NOW]

    def argv(self, rule_set, log, output="human"):
        return [self.binary, "replay", *self.rules(rule_set), "--type", log.type, "-q", "-o", output, log.path]


def report_without_timing(path):
    return hashlib.sha256(TIMING.sub(b"", Path(path).read_bytes())).hexdigest()[:16]


def matched_lines(path):
    found = re.search(r"Lines: .* (\d+) matched", Path(path).read_text(errors="replace"))
    return f"{found.group(1)} lines matched" if found else None


def yardsticks():
    program = Path(__file__).with_name("yardstick.py")
    return [Contender(f"yardstick/{name}", [sys.executable, "-I", "-S", program, name]) for name in YARDSTICKS]


def of_testudo(testudo, logs, kinds, lines, keys):
    """Testudo with each set of rules over each log, and over one line."""
    made = []
    for rule_set in SETS:
        start = f"testudo/{rule_set}/start"
        first = logs.first_line(logs.get("nginx", lines))
        made.append(Contender(start, testudo.argv(rule_set, first), 1, told=report_without_timing))
        for kind in kinds:
            log = logs.get(kind, keys if kind == "keys" else lines)
            argv = testudo.argv(rule_set, log)
            made.append(Contender(f"testudo/{rule_set}/{kind}", argv, log.lines, start, told=report_without_timing))
    return made


def of_fail2ban(package, logs, lines):
    """fail2ban-regex over the ssh log, as it comes, and stopping at the first expression that matches, as the
    daemon does."""
    log = logs.get("ssh", lines)
    filter_file = package.path("/etc/fail2ban/filter.d/sshd.conf")
    env = os.environ | {"PYTHONPATH": str(package.modules)}
    # The interpreter that Debian's modules are made for.
    command = ["/usr/bin/python3", package.binary("fail2ban-regex")]
    made = []
    for name, options in (("ssh", []), ("ssh-first-match", ["--no-check-all"])):
        for id, log_of, start in (
            (f"fail2ban/{name}-start", logs.first_line(log), None),
            (f"fail2ban/{name}", log, f"fail2ban/{name}-start"),
        ):
            argv = [*command, *options, log_of.path, filter_file]
            made.append(Contender(id, argv, log_of.lines, start, env=env, told=matched_lines))
    return made


def of_crowdsec(ready, logs, lines):
    """crowdsec over the web and the ssh log. `ready`: configurations by set. Which of its alerts come when depends
    on its threads."""
    made = []
    for rule_set, crowdsec in ready.items():
        def told(_, crowdsec=crowdsec):
            alerts = crowdsec.api.take()
            return f"{len(alerts)} alerts, {len({source for _, source in alerts})} sources"

        start = f"crowdsec/{rule_set}/start"
        first = logs.first_line(logs.get("nginx", lines))
        made.append(Contender(start, crowdsec.argv(first.type, first.path), 1, slow=True, told=told, steady=False))
        for kind in ("nginx", "ssh"):
            log = logs.get(kind, lines)
            argv = crowdsec.argv(log.type, log.path)
            id = f"crowdsec/{rule_set}/{kind}"
            made.append(Contender(id, argv, log.lines, start, slow=True, told=told, steady=False))
    return made
