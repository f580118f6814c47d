"""Other programs from Debian's packages: those that are installed, or unpacked into the working folder.

They are unpacked, not installed: installing them starts services, and registers the machine with a service of
their maker, for no use to a benchmark.
"""

import re
import shutil
import subprocess
from pathlib import Path

SECONDS = 300
NAMES = ("crowdsec", "fail2ban")
PROGRAMS = {"crowdsec": "crowdsec", "fail2ban": "fail2ban-regex"}


class Package:
    """A package, in the root of the system or in a folder of its own."""

    def __init__(self, name, root):
        self.name = name
        self.root = Path(root)
        self.version = self._version()

    def path(self, path):
        """Where a file of the package is, by its path on a system where it is installed."""
        return self.root / path.lstrip("/")

    def binary(self, program):
        return str(self.path(f"/usr/bin/{program}"))

    @property
    def modules(self):
        return self.path("/usr/lib/python3/dist-packages")

    def _version(self):
        option = {"crowdsec": "-version", "fail2ban": "--version"}[self.name]
        env = {"PYTHONPATH": str(self.modules), "PATH": "/usr/bin:/bin"}
        done = subprocess.run([self.binary(PROGRAMS[self.name]), option], capture_output=True, text=True,
                              timeout=60, env=env)
        found = re.search(r"(?:version: v?|fail2ban-regex )(\S+)", done.stdout + done.stderr)
        return found.group(1) if found else "of unknown version"


def find(name, work):
    """The package, or `None` where it is neither installed nor unpacked."""
    for root in (Path("/"), Path(work) / "packages" / name):
        if (root / "usr/bin" / PROGRAMS[name]).is_file():
            return Package(name, root)
    return None


def fetch(name, work, say):
    """Downloads and unpacks a package, unless it is here already."""
    if find(name, work) is not None:
        return
    say(f"downloading {name}")
    folder = Path(work) / "packages"
    parts = folder / f"{name}.part"
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    download = ["apt-get", "download", "-q", name]
    if subprocess.run(download, cwd=parts, timeout=SECONDS, stdout=subprocess.DEVNULL).returncode != 0:
        # A machine that is new knows no packages yet.
        subprocess.run(["apt-get", "update", "-q"], timeout=SECONDS, stdout=subprocess.DEVNULL, check=True)
        subprocess.run(download, cwd=parts, timeout=SECONDS, stdout=subprocess.DEVNULL, check=True)
    for archive in parts.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive.name, "root"], cwd=parts, timeout=SECONDS, check=True)
    (parts / "root").rename(folder / name)
    shutil.rmtree(parts)
