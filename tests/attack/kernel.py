"""Attacks of which the kernel tells: scans that a packet filter refuses, and log-ins in the audit trail."""

import contextlib
import fcntl
import ipaddress
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

from others import Sshd
from stage import ATTACKER, ATTACKER6, MACHINE, PATIENCE, TO_MACHINE, Failed, Part, Skipped, curl, enclosed, find, sh

# Whether the kernel logs what packet filters of other namespaces than the machine's say.
ALL_NAMESPACES = Path("/proc/sys/net/netfilter/nf_log_all_netns")
WEB = 8080
# Where an SSH server asks for names.
NAMES = 2222

# Sends errors about packets that the machine never sent: their inside is the sender's choice.
FORGE = """\
import ipaddress, socket, struct, sys
target, victim = (ipaddress.ip_address(word) for word in sys.argv[1:3])
for port in range(1000, 1040):
    tcp = struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 0x50, 2, 1024, 0, 0)
    if target.version == 4:
        inside = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, victim.packed, target.packed) + tcp
        error = struct.pack("!BBHI", 3, 3, 0, 0) + inside
        total = sum(struct.unpack(f"!{len(error) // 2}H", error))
        total = (total & 0xFFFF) + (total >> 16)
        error = error[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + error[4:]
        family, protocol = socket.AF_INET, socket.IPPROTO_ICMP
    else:
        error = struct.pack("!BBHI", 1, 4, 0, 0) + struct.pack("!IHBB16s16s", 0x60000000, 20, 6, 64, victim.packed, target.packed) + tcp
        family, protocol = socket.AF_INET6, socket.IPPROTO_ICMPV6
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.sendto(error, (str(target), 0))
"""


def until(condition, failure):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Failed(failure)
        time.sleep(0.02)


class PacketFilter(Part):
    """A machine with a packet filter, and a scanner on the other side of its network card."""

    expected = {"testudo/port-scan"}
    slip = "testudo/port-scan"
    serving = False

    def prepare(self):
        self.nmap = find("nmap")
        find("rsyslogd")
        # Lines of others are told apart by it.
        self.card = f"v{self.folder.name[-8:]}"
        for place in ("machine", "elsewhere"):
            sh("ip", "netns", "add", place)
            self.at(place, "ip", "link", "set", "lo", "up")
        self.at("machine", "ip", "link", "add", self.card, "type", "veth", "peer", "name", "uplink", "netns", "elsewhere")
        self.at("machine", "ip", "link", "set", self.card, "up")
        self.at("elsewhere", "ip", "link", "set", "uplink", "up")
        for target, source in MACHINE.items():
            length, checks = (128, ["nodad"]) if ":" in target else (32, [])
            self.at("machine", "ip", "address", "add", f"{target}/{length}", "dev", self.card, *checks)
            self.at("machine", "ip", "route", "add", source, "dev", self.card)
            self.at("elsewhere", "ip", "address", "add", f"{source}/{length}", "dev", "uplink", *checks)
            self.at("elsewhere", "ip", "route", "add", target, "dev", "uplink", "src", source)
        self.refuse()

    def refuse(self):
        """Sets up the packet filter."""

    def at(self, place, *command):
        return sh("ip", "netns", "exec", place, *command)

    def spellings(self, address):
        return {address, ipaddress.ip_address(address).exploded}

    def serve(self):
        self.start("ip", "netns", "exec", "machine", sys.executable, "-m", "http.server", "--bind", "::", "--directory", self.folder / "home", WEB)
        until(lambda: self.fetch(ATTACKER6, WEB) == 0, "nobody serves pages")
        self.serving = True

    def drain(self):
        """Until everything that was refused so far is in the logs."""

    def stop(self):
        try:
            if self.serving:
                self.serving = False
                self.drain()
        finally:
            super().stop()

    def fetch(self, source, port):
        command = ["ip", "netns", "exec", "elsewhere", "curl", "-q", "-s", "-o", "/dev/null", "--connect-timeout", "1", f"http://{enclosed(TO_MACHINE[source])}:{port}/"]
        return subprocess.run(command, stdin=subprocess.DEVNULL, timeout=PATIENCE).returncode

    def attack(self, source, victim):
        target = TO_MACHINE[source]
        # Systems that offer congestion notification begin a connection with more flags than one.
        family, flags = (["-6"], ["--scanflags", "SYNECECWR"]) if ":" in source else ([], [])
        scan = [self.nmap, *family, "-Pn", "-n"]
        self.at("elsewhere", *scan, "-sS", *flags, "--top-ports", "100", target)
        self.at("elsewhere", *scan, "-sU", "-p", "53,123,161", target)
        self.at("elsewhere", sys.executable, "-c", FORGE, target, victim)

    def visit(self, source):
        if self.fetch(source, WEB) != 0:
            raise Failed(f"{source} gets no page")
        if self.fetch(source, WEB + 1) == 0:
            raise Failed("nothing is refused")


class KernelLog(PacketFilter):
    """A packet filter that writes to the kernel's log."""

    @classmethod
    @contextlib.contextmanager
    def beside(cls, _folder):
        try:
            setting = ALL_NAMESPACES.open("r+")
        except OSError as error:
            raise Skipped(f"the kernel logs no packets of namespaces: {error}") from error
        with setting:
            # One at a time, so that each finds what it has to put back.
            fcntl.flock(setting, fcntl.LOCK_EX)
            before = setting.read().strip()
            ALL_NAMESPACES.write_text("1")
            try:
                yield
            finally:
                ALL_NAMESPACES.write_text(before)

    def prepare(self):
        super().prepare()
        # The log itself is everybody's, and reading it as a syslog daemon does would take it away from others.
        self.spout = self.folder / "kmsg"
        os.mkfifo(self.spout)
        os.mknod("/dev/kmsg", stat.S_IFCHR | 0o600, os.makedev(1, 11))
        self.rounds = 0

    def serve(self):
        self.syslog(f'module(load="imklog" LogPath="{self.spout}")\n')
        self.kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.kmsg, 0, os.SEEK_END)
        self.finished = threading.Event()
        self.pump = threading.Thread(target=self.pour, daemon=True)
        self.pump.start()
        super().serve()

    def pour(self):
        """Hands the lines about our card to the syslog daemon, as the kernel writes them for it."""
        with open(self.spout, "wb", buffering=0) as spout:
            while True:
                # Whatever was logged before the end was announced is there by then.
                last = self.finished.is_set()
                try:
                    head, _, text = os.read(self.kmsg, 8_192).partition(b";")
                except BlockingIOError:
                    if last:
                        spout.write(f"<6>[    0.000000] end of round {self.rounds}\n".encode())
                        return
                    self.finished.wait(0.02)
                    continue
                except BrokenPipeError:
                    # Some lines were overwritten before they were read; the next ones are there.
                    continue
                level, _, micros, *_ = head.split(b",")
                if f"IN={self.card} ".encode() in text or f"OUT={self.card} ".encode() in text:
                    spout.write(b"<%d>[%5d.%06d] %s\n" % (int(level) & 7, *divmod(int(micros), 1_000_000), text.split(b"\n")[0]))

    def drain(self):
        self.rounds += 1
        self.finished.set()
        self.pump.join(PATIENCE)
        os.close(self.kmsg)
        log = self.folder / "logs/syslog-iso"
        until(lambda: f"end of round {self.rounds}" in log.read_text(errors="replace"), "the kernel's log was not read to its end")


def guard(accepted, *refused):
    """A rule set that lets the web server be reached; what is logged of that, and what becomes of the rest."""
    rules = "\n    ".join(refused)
    return f"""\
table inet guard {{
  chain input {{
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    tcp dport {WEB} {accepted} accept
    {rules}
  }}
}}
"""


class Nftables(KernelLog):
    name = "nftables"

    def refuse(self):
        rules = self.write("rules.nft", guard('log prefix "[web accept] " level info', 'meta nfproto ipv6 log prefix "refused: " level info flags all drop',
                                              'log prefix "[nft drop] " level info'))
        self.at("machine", find("nft"), "-f", rules)


class Ufw(KernelLog):
    """iptables, as most people have it. Below the level `high`, UFW logs three packets a minute."""

    name = "ufw"

    def refuse(self):
        ufw = find("ufw")
        for arguments in (["--force", "reset"], ["allow", f"{WEB}/tcp"], ["logging", "high"], ["--force", "enable"]):
            self.at("machine", ufw, *arguments)


class Ulogd(PacketFilter):
    """A packet filter whose log goes past the kernel's, to a daemon that writes a file and to syslog."""

    name = "ulogd"
    logs = [["ulogd.log"], ["syslog"], ["syslog-iso"]]
    kinds = {"ulogd.log": "ulogd"}
    # Of packets inside of others it tells nothing.
    mentions = 0
    rounds = 0

    def refuse(self):
        self.ulogd = find("ulogd")
        plugins = next(Path("/usr/lib").glob("*/ulogd"), None)
        if plugins is None:
            raise Skipped("no plugins of ulogd")
        rules = self.write("rules.nft", guard('log prefix "[web accept] " group 1', 'meta nfproto ipv6 log prefix "refused: " group 1 drop', "log group 1"))
        self.at("machine", find("nft"), "-f", rules)
        parts = ("inppkt_NFLOG", "raw2packet_BASE", "filter_IFINDEX", "filter_IP2STR", "filter_PRINTPKT", "output_LOGEMU", "output_SYSLOG")
        self.write("ulogd.conf", "".join(["[global]\n", *(f'plugin="{plugins}/ulogd_{part}.so"\n' for part in parts)]) + f"""\
logfile="{self.folder}/ulogd.out"
stack=log1:NFLOG,base1:BASE,ifi1:IFINDEX,ip2str1:IP2STR,print1:PRINTPKT,file1:LOGEMU
stack=log1:NFLOG,base1:BASE,ifi1:IFINDEX,ip2str1:IP2STR,print1:PRINTPKT,syslog1:SYSLOG
[log1]
group=1
[file1]
file="{self.folder}/logs/ulogd.log"
sync=1
[syslog1]
facility=LOG_LOCAL2
""")

    def serve(self):
        self.syslog()
        self.start("ip", "netns", "exec", "machine", self.ulogd, "-c", self.folder / "ulogd.conf")
        super().serve()

    def drain(self):
        # The kernel hands packets over in groups, and a last one does not hurt.
        self.rounds += 1
        port = str(20_000 + self.rounds)
        self.at("elsewhere", sys.executable, "-c", "import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', (sys.argv[1], int(sys.argv[2])))",
                TO_MACHINE[ATTACKER], port)
        for name in ("ulogd.log", "syslog-iso"):
            log = self.folder / "logs" / name
            until(lambda log=log: f" DPT={port} " in log.read_text(errors="replace"), f"the last packet is not in {name}")


class Auditd(Sshd):
    """The audit trail of log-ins. The kernel hands it to one daemon of the whole machine, outside of all namespaces."""

    name = "auditd"
    logs = [["audit.log"], ["syslog"], ["syslog-iso"]]
    kinds = {"audit.log": "auditd"}
    expected = {"testudo/login-bruteforce"}
    slip = "testudo/login-bruteforce"
    samples = ["auditd"]

    @classmethod
    @contextlib.contextmanager
    def beside(cls, folder):
        auditd, auditctl = find("auditd"), find("auditctl")
        with open(auditd, "rb") as program:
            # One at a time, as above; there is no other file that all have in common.
            fcntl.flock(program, fcntl.LOCK_EX)
            with cls.daemon(folder, auditd, auditctl):
                yield

    @classmethod
    @contextlib.contextmanager
    def daemon(cls, folder, auditd, auditctl):
        """auditd, and the audit trail as it was after it."""
        state = cls.state(auditctl)
        if state.get("pid") != "0" or state.get("enabled") not in ("0", "1"):
            raise Skipped(f"the audit trail is somebody else's: {state}")
        settings = folder / "auditd"
        (settings / "plugins.d").mkdir(parents=True)
        (settings / "auditd.conf").write_text(f"""\
local_events = yes
write_logs = yes
log_file = {settings}/audit.log
log_group = root
log_format = ENRICHED
flush = NONE
max_log_file_action = IGNORE
space_left = 2
space_left_action = IGNORE
admin_space_left = 1
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
priority_boost = 0
plugin_dir = {settings}/plugins.d
""")
        # Where it notes its number is nobody else's business; it ends when this process does.
        command = ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$0" "$@"', auditd, "-n", "-c", settings]
        with open(folder / "auditd.out", "wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            until(lambda: process.poll() is not None or cls.state(auditctl).get("pid") == str(process.pid), "auditd does not get the audit trail")
            if process.poll() is not None:
                raise Failed(f"auditd: {(folder / 'auditd.out').read_text(errors='replace')}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            sh(auditctl, "-e", state["enabled"])

    @staticmethod
    def state(auditctl):
        """What the kernel says of its audit trail."""
        try:
            return dict(line.split(maxsplit=1) for line in sh(auditctl, "-s").splitlines() if " " in line)
        except Failed as error:
            raise Skipped(f"the kernel does not answer about its audit trail: {error}") from error

    def prepare(self):
        super().prepare()
        self.auditctl, self.plugin = find("auditctl"), find("audisp-syslog")
        # Others log in on this machine, too: ours is known by its path.
        self.sshd = shutil.copy(self.sshd, self.folder / "sshd")
        # One that asks the DNS who comes, where everybody can be called as he likes.
        self.write("sshd_config_names", (self.folder / "sshd_config").read_text() + f"UseDNS yes\nPort {NAMES}\n")
        self.rounds = 0

    def serve(self):
        self.start(self.sshd, "-D", "-f", self.folder / "sshd_config_names")
        self.wait(NAMES)
        super().serve()

    def attack(self, source, victim):
        super().attack(source, victim)
        # Of a name no more than this is written.
        short = [text.format(victim)[:32] for text in ("{}", "'{}", '"{}"', "{}'", "addr={}", "x addr={}", '" addr={}', "' addr={} '", "{}\n", "{} res=failed", "acct={}", "\x1d{}")]
        target = enclosed(TO_MACHINE[source])
        for port in (self.port, NAMES):
            curl(*({"url": f"sftp://{target}:{port}/", "user": f"{name}:wrong", "insecure": True} for name in short), at_once=8)

    def spellings(self, address):
        """Names with a blank or a quote are written in hexadecimal digits, and those of hosts have no colons."""
        return {address, address.encode().hex().upper(), address.replace(":", "-")}

    def stop(self):
        serving = bool(self.processes)
        super().stop()
        if serving:
            try:
                self.collect()
            finally:
                super().stop()

    def collect(self):
        """Everything that our server told so far, once the daemon has written it."""
        self.rounds += 1
        mark = f"testudo-{self.folder.name}-{self.rounds}"
        sh(self.auditctl, "-m", mark)
        trail, log = self.folder / "auditd/audit.log", self.folder / "logs/audit.log"
        until(lambda: mark.encode() in trail.read_bytes(), "auditd does not write all that it is told")
        ours = f' exe="{self.sshd}" '.encode()
        known = log.read_bytes() if log.exists() else b""
        log.write_bytes(b"".join(line for line in trail.read_bytes().splitlines(keepends=True) if ours in line))
        # The daemon's plugin for syslog gets the same lines.
        self.syslog()
        told = log.read_bytes()
        subprocess.run([self.plugin, "LOG_LOCAL2"], input=told[len(known):], check=True, timeout=PATIENCE)
        written = self.folder / "logs/syslog-iso"
        until(lambda: len(re.findall(rb"(?m)^\S+ \S+ audispd: type=", written.read_bytes())) == told.count(b"\n"), "rsyslogd does not write all that it is told")


PARTS = [Nftables, Ulogd, Ufw, Auditd]
