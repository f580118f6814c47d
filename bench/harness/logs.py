"""The logs: made once by the shared generator, kept in the working folder, each with the truth about it."""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SEED = 7
GENERATE_SECONDS = 300

# How each kind of log is to be read.
TYPES = {"nginx": "nginx", "longtail": "nginx", "ssh": "syslog", "mixed": "syslog", "keys": "syslog"}
KINDS = tuple(TYPES)

# Kinds in which the generator demands that the loudest attackers are found, and from how many lines on.
FOUND_IN = ("nginx", "ssh", "mixed")
LOUD_LINES = 200


@dataclass(frozen=True)
class Log:
    """A log on disk."""

    kind: str
    path: Path
    lines: int

    @property
    def type(self):
        return TYPES[self.kind]

    def attackers(self):
        """Hostile lines by address."""
        return json.loads(Path(f"{self.path}.truth.json").read_text())["attackers"]


class Logs:
    """Makes logs where they are asked for first."""

    def __init__(self, shared, work, say):
        self.tool = Path(shared) / "tools/genlogs.py"
        self.folder = Path(work) / "logs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.say = say
        # Another generator makes other logs.
        self.version = hashlib.sha256(self.tool.read_bytes()).hexdigest()[:8]

    def get(self, kind, lines):
        path = self.folder / f"{kind}-{lines}-{SEED}-{self.version}.log"
        if not path.exists():
            self.say(f"making {lines:,} lines of {kind}")
            part = path.with_suffix(".part")
            argv = [sys.executable, self.tool, kind, lines, SEED, part]
            subprocess.run([str(word) for word in argv], check=True, timeout=GENERATE_SECONDS)
            os.replace(f"{part}.truth.json", f"{path}.truth.json")
            os.replace(part, path)
        return Log(kind, path, lines)

    def first_line(self, log):
        """A log of one line: the first of another."""
        path = log.path.with_suffix(".first.log")
        with log.path.open() as whole:
            path.write_text(whole.readline())
        return Log(log.kind, path, 1)

    def lines_of(self, log, address):
        """A log of those lines in which an address stands."""
        path = self.folder / "one-address.log"
        whole = re.compile(r"(?<![\d.])%s(?![\d.])" % re.escape(address))
        lines = 0
        with log.path.open() as source, path.open("w") as target:
            for line in source:
                if address in line and whole.search(line):
                    target.write(line)
                    lines += 1
        return Log(log.kind, path, lines)
