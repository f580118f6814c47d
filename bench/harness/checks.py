"""Whether what is measured is right: the same bytes in every run and on one core, what the generator knows, and
what the plain interpreter finds.

Nothing here is measured.
"""

import hashlib
import json
from dataclasses import dataclass, field

from . import children
from .logs import FOUND_IN, LOUD_LINES

# Addresses whose absence is looked into; more than these means that something is broken.
LOOKED_INTO = 20


@dataclass
class Check:
    """A question with its answer."""

    id: str
    good: bool
    detail: str
    notes: list = field(default_factory=list)


class Checks:
    """Runs checks; files of their runs go to a folder."""

    def __init__(self, testudo, logs, folder, timeout):
        self.testudo = testudo
        self.logs = logs
        self.folder = folder
        self.timeout = timeout

    def output(self, rule_set, log, name, one_core=False):
        """The file with all alerts of a run."""
        path = self.folder / f"{name}.jsonl"
        cost = children.run(self.testudo.argv(rule_set, log, "jsonl"), timeout=self.timeout, stdout=path,
                            stderr=path.with_suffix(".err"), one_core=one_core)
        if not cost.good:
            raise RuntimeError(f"testudo over {log.kind} {cost.why()}")
        return path

    def parsed(self, rule_set, log):
        """All lines are parsed: that of which the start is measured."""
        lines = Told(self.output(rule_set, log, "start")).lines
        return Check(f"parsed/{rule_set}/start", lines["parsed"] == log.lines, f"{lines['parsed']} of {log.lines}")

    def same_bytes(self, rule_set, log):
        """Two runs and one on a single core tell the same; gives the check and the output."""
        first = self.output(rule_set, log, "first")
        digests = [digest(first)]
        digests.append(digest(self.output(rule_set, log, "again")))
        digests.append(digest(self.output(rule_set, log, "one-core", one_core=True)))
        good = len(set(digests)) == 1
        detail = f"sha256 {digests[0][:16]}" if good else "runs differ: " + ", ".join(d[:16] for d in digests)
        return Check(f"same bytes/{rule_set}/{log.kind}", good, detail), first

    def truth(self, rule_set, log, output):
        """Only attackers are reported, and every loud one is, unless the rules hold its address for harmless."""
        told = Told(output)
        attackers = log.attackers()
        innocent = sorted(told.addresses - set(attackers))
        loud = {address for address, lines in attackers.items() if lines >= LOUD_LINES}
        missing, excused = [], []
        if log.kind in FOUND_IN:
            for address in sorted(loud - told.addresses)[:LOOKED_INTO]:
                (excused if self.harmless(rule_set, log, address, told) else missing).append(address)
        parts = [f"{told.alerts} alerts, {len(told.addresses)} addresses of {len(attackers)} attackers"]
        if log.kind in FOUND_IN:
            parts.append(f"{len(loud)} loud ones")
        parts += [f"{name} {', '.join(of[:LOOKED_INTO])}" for name, of in (
            ("NO ATTACKERS:", innocent), ("NOT FOUND:", missing), ("whitelisted by the rules:", excused)) if of]
        notes = [f"{count} alerts of scope {scope}" for scope, count in sorted(told.scopes.items())]
        return Check(f"truth/{rule_set}/{log.kind}", not innocent and not missing, "; ".join(parts), notes)

    def harmless(self, rule_set, log, address, told):
        """Whether the rules whitelist what an address does: its lines alone are run to see."""
        if address in told.whitelisted:
            return True
        alone = self.logs.lines_of(log, address)
        lines = Told(self.output(rule_set, alone, "alone")).lines
        return lines["whitelisted"] > 0 and lines["parsed"] == 0

    def plain(self, program, rule_set, log, lines):
        """The engine and the plain interpreter find the same in the first lines."""
        paths = {}
        for name in ("fast", "plain"):
            paths[name] = self.folder / f"sample.{name}"
            argv = [program, f"--{name}", *self.testudo.rules(rule_set), "--type", log.type, "--lines", lines, log.path]
            cost = children.run(argv, timeout=self.timeout, stdout=paths[name], stderr=self.folder / "sample.err")
            if not cost.good:
                raise RuntimeError(f"the {name} interpreter over {log.kind} {cost.why()}")
        good = digest(paths["fast"]) == digest(paths["plain"])
        with paths["plain"].open() as found:
            overflows = sum(1 for _ in found)
        detail = f"{overflows} overflows in {min(lines, log.lines):,} lines, sha256 {digest(paths['plain'])[:16]}"
        return Check(f"plain/{rule_set}/{log.kind}", good, detail if good else "they differ: " + detail)


class Told:
    """What a run told."""

    def __init__(self, path):
        self.alerts = 0
        self.addresses = set()
        self.whitelisted = set()
        # Alerts about anything else than addresses.
        self.scopes = {}
        self.lines = {}
        with open(path) as lines:
            for line in lines:
                document = json.loads(line)
                if "summary" in document:
                    self.lines = document["summary"]["lines"]
                    continue
                alert = document["alert"]
                source = alert["source"]
                if source["scope"].lower() != "ip":
                    self.scopes[source["scope"]] = self.scopes.get(source["scope"], 0) + 1
                elif alert.get("whitelisted") is not None:
                    self.whitelisted.add(source["value"])
                else:
                    self.alerts += 1
                    self.addresses.add(source["value"])


def digest(path):
    """The sha256 of a file."""
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            whole.update(piece)
    return whole.hexdigest()
