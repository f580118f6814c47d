"""A network of our own for tests of the firewall: other machines as namespaces, and what comes from them.

A script that uses it begins itself anew in a network namespace ([`begin`]), which is the machine that is guarded. Nothing
leaves these namespaces.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from harness.node import NodeFailed, key  # noqa: E402

SKIPPED = 77
PORT = 9_999
PACE = 0.002
# How long something may take that takes milliseconds on a quiet machine.
PATIENCE = 20
# Tells the process in the namespace who made it.
INSIDE = "TESTUDO_TEST_INSIDE"

SENDER = """
import socket, sys, time
target, sources, pace = sys.argv[1], sys.argv[2].split(","), float(sys.argv[3])
family = socket.AF_INET6 if ":" in target else socket.AF_INET
sockets = []
for source in sources:
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.bind((source, 0))
    sockets.append(one)
end = time.monotonic() + 600
while time.monotonic() < end:
    for one in sockets:
        try:
            one.sendto(b"here", (target, %d))
        except OSError:
            pass
    time.sleep(pace)
""" % PORT

CONFIG = """\
mode: nftables
api_url: http://127.0.0.1:{port}/
api_key: {key}
update_frequency: 1s
deny_action: DROP
log_level: info
supported_decisions_types: [ban]
prometheus: {{enabled: true, listen_addr: 127.0.0.1, listen_port: 60601}}
testudo:
  state_file: {folder}/firewall.snapshot
  audit_interval: 1s
"""


def sh(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise NodeFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Peer:
    """Another machine: a namespace with some addresses, from which datagrams come all the time."""

    def __init__(self, name, here, addresses, target):
        self.name = name
        sh("ip", "netns", "add", name)
        sh("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        for address in here:
            sh("ip", "address", "add", address, "dev", f"to-{name}", *(["nodad"] if ":" in address else []))
        sh("ip", "link", "set", f"to-{name}", "up")
        self.inside("ip", "link", "set", "lo", "up")
        for address in addresses:
            self.inside("ip", "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        self.inside("ip", "link", "set", "eth0", "up")
        sources = ",".join(address.split("/")[0] for address in addresses)
        self.sender = subprocess.Popen(["ip", "netns", "exec", name, sys.executable, "-c", SENDER, target, sources, str(PACE)])

    def inside(self, *command):
        return sh("ip", "netns", "exec", self.name, *command)

    def close(self):
        self.sender.kill()
        self.sender.wait()
        sh("ip", "netns", "del", self.name, check=False)


# Who sends hundreds of datagrams in a second and is not heard for so long is not heard at all.
QUIET = 0.25


class Ear(threading.Thread):
    """Notes when something came last, of each address, and when a silence ended last.

    `beside` is an address that is always heard: with it, one that stops is told from a machine that is too busy to send.
    """

    def __init__(self, beside=None):
        super().__init__(daemon=True)
        self.beside = beside
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(("::", PORT))
        self.last, self.spoke_again = {}, {}
        self.start()

    def run(self):
        while True:
            _, (address, *_) = self.socket.recvfrom(64)
            address = address.removeprefix("::ffff:")
            if address in self.last and self.is_silent(address):
                self.spoke_again[address] = time.monotonic()
            self.last[address] = time.monotonic()

    def is_silent(self, address):
        """Whether datagrams have stopped to come, while those beside it still come."""
        now = self.last.get(self.beside, 0) if self.beside else time.monotonic()
        return now - self.last.get(address, 0) > QUIET

    def silent(self, address, since=None):
        """Until datagrams have stopped to come, or had stopped at some time since then: a short ban may be over before the
        command that asked for it has returned. Returns when the last one came."""
        end = time.monotonic() + PATIENCE
        while not self.is_silent(address):
            if since is not None and self.spoke_again.get(address, 0) > since:
                break
            if time.monotonic() > end:
                raise NodeFailed(f"datagrams of {address} still come")
            time.sleep(0.002)
        return self.last.get(address, 0)

    def hears(self, address, within=0.1):
        return time.monotonic() - self.last.get(address, 0) < within

    def wait(self, address, comes, seconds=PATIENCE):
        """Until datagrams of an address come, or come no longer; returns when that began."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if self.hears(address) == comes:
                return self.last.get(address, begun) if not comes else time.monotonic()
            time.sleep(0.0005)
        raise NodeFailed(f"after {seconds} s, datagrams of {address} {'do not come' if comes else 'still come'}")


class Firewall:
    def __init__(self, binary, folder, port):
        self.binary, self.folder = binary, folder
        self.config = folder / "firewall.yaml"
        self.config.write_text(CONFIG.format(port=port, key=key(0), folder=folder))
        self.log = folder / "firewall.log"
        self.process = None

    def start(self):
        self.process = subprocess.Popen([self.binary, "firewall", "-c", self.config], stdout=open(self.log, "ab"),
                                        stderr=subprocess.STDOUT)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(PATIENCE)

    def metrics(self):
        text = urllib.request.urlopen("http://127.0.0.1:60601/metrics", timeout=10).read().decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}

    def told(self):
        return self.log.read_text()[-3_000:]


def failed_logins(address, count=9):
    """Lines of a brute force."""
    stamp = time.strftime("%b %e %H:%M:%S", time.gmtime())
    return "".join(f"{stamp} here sshd[{700 + n}]: Failed password for root from {address} port {40_000 + n} ssh2\n" for n in range(count))


def find_binary():
    named = os.environ.get("TESTUDO_BIN")
    for path in [named] if named else [ROOT / "target/release/testudo", ROOT / "target/debug/testudo"]:
        if Path(path).exists():
            return Path(path).resolve()
    return None


def begin(tools):
    """Whether this is the process in the namespace; else what the script has to end with.

    The process outside makes the namespace, runs the script once more in there, and ends as that did.
    """
    if find_binary() is None:
        print("skipped: no testudo; build it, or name one in TESTUDO_BIN")
        return SKIPPED
    for tool in ("ip", "nft", "unshare", *tools):
        if shutil.which(tool) is None:
            print(f"skipped: no {tool}")
            return SKIPPED
    if os.environ.get(INSIDE) != str(os.getppid()):
        if subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True).returncode != 0:
            print("skipped: no right to make network namespaces")
            return SKIPPED
        inside = os.environ | {INSIDE: str(os.getpid())}
        return subprocess.run(["unshare", "-n", "-m", sys.executable, *sys.argv], env=inside).returncode
    # The names of namespaces stay in here.
    sh("mount", "-t", "tmpfs", "none", "/run")
    sh("ip", "link", "set", "lo", "up")
    return None
