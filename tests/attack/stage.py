"""What every part of the attack tests has in common: a machine of its own, services in it, and the report about their logs.

A part runs as the first process of its own process, network and mount namespaces. Clients choose who they are by the address
of the service that they talk to, so that no client needs to know how to bind an address: the kernel takes the source that
the route prefers. When the first process ends, everything that it started ends, too.
"""

import concurrent.futures
import contextlib
import ipaddress
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Packages of Debian that exclude others are unpacked here instead of being installed.
UNPACKED = ROOT / "target/services"
# How long something may take that takes milliseconds on a quiet machine.
PATIENCE = 20

ATTACKER, ATTACKER6 = "203.0.113.7", "2001:db8:7::7"
NEIGHBOUR, NEIGHBOUR6 = "198.51.100.9", "2001:db8:9::9"
# The addresses of the machine, and who somebody is that talks to one.
MACHINE = {"192.0.2.1": ATTACKER, "192.0.2.2": NEIGHBOUR, "2001:db8::1": ATTACKER6, "2001:db8::2": NEIGHBOUR6}
TO_MACHINE = {source: target for target, source in MACHINE.items()}
FAMILIES = [(ATTACKER, NEIGHBOUR), (ATTACKER6, NEIGHBOUR6)]

USER, OTHER_USER, PASSWORD = "kim", "lee", "correct-horse"

RSYSLOG = """\
global(workDirectory="{folder}")
module(load="imuxsock" SysSock.Name="/dev/log" SysSock.RateLimit.Interval="0")
action(type="omfile" file="{folder}/logs/syslog" template="RSYSLOG_TraditionalFileFormat")
action(type="omfile" file="{folder}/logs/syslog-iso" template="RSYSLOG_FileFormat")
"""


class Failed(RuntimeError):
    """Something is not as it must be."""


class Skipped(RuntimeError):
    """Something is missing that the part needs."""


def sh(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace", timeout=PATIENCE, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(str(word) for word in command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def find(*names):
    """A program of the system, or of the unpacked packages; of several names the first that there is."""
    for name in names:
        for path in (name, f"/usr/sbin/{name}", f"/usr/lib/{name}", UNPACKED / "usr/sbin" / name, ROOT / "target/tools/web-servers/bin" / name):
            found = shutil.which(str(path))
            if found:
                return found
    raise Skipped(f"no {names[0]}")


def enclosed(address):
    return f"[{address}]" if ":" in address else address


def private_devices(folder):
    """A /dev of this machine: the log socket of the one outside is nobody else's."""
    devices = folder / "dev"
    devices.mkdir()
    sh("mount", "-t", "tmpfs", "none", devices)
    for name in ("null", "zero", "random", "urandom", "full", "tty"):
        (devices / name).touch()
        sh("mount", "--bind", f"/dev/{name}", devices / name)
    (devices / "shm").mkdir(mode=0o777)
    (devices / "shm").chmod(0o1777)
    (devices / "pts").mkdir()
    sh("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666", "none", devices / "pts")
    (devices / "ptmx").symlink_to("pts/ptmx")
    (devices / "fd").symlink_to("/proc/self/fd")
    sh("mount", "--move", devices, "/dev")


def private_state():
    """What programs note of users and themselves without being told where: btmp, time stamps of sudo, pid files."""
    for path in ("/run", "/var/log", "/var/lib/sudo"):
        if Path(path).is_dir():
            sh("mount", "-t", "tmpfs", "-o", "mode=0755", "none", path)
    Path("/run/sshd").mkdir(mode=0o755)


def private_accounts(folder):
    """Accounts of this machine: those of the one outside, one with a known password, and those that packages would make."""
    # A copy in memory, since what is mounted over single files falls off when somebody outside replaces them.
    own = folder / "etc"
    own.mkdir()
    sh("mount", "-t", "tmpfs", "-o", "mode=0755", "none", own)
    sh("cp", "-a", "/etc/.", own)
    passwd, group = ((own / name).read_text() for name in ("passwd", "group"))
    number = 42_000
    for name in (USER, OTHER_USER, "Debian-exim", "postfix", "postdrop", "dovecot", "dovenull", "postgres", "mysql", "sshd", "ftp"):
        number += 1
        if name in (USER, OTHER_USER) or not re.search(f"(?m)^{name}:", passwd):
            home = folder / "home" if name == USER else "/nonexistent"
            passwd += f"{name}:x:{number}:{number}::{home}:/bin/sh\n"
        if not re.search(f"(?m)^{name}:", group):
            group += f"{name}:x:{number}:\n"
    (own / "passwd").write_text(passwd)
    (own / "group").write_text(group)
    with open(own / "shadow", "a") as shadow:
        hashed = sh("openssl", "passwd", "-6", PASSWORD).strip()
        shadow.write("".join(f"{name}:{hashed}:20000:0:99999:7:::\n" for name in (USER, OTHER_USER)))
    # As Debian has it, so that names that nobody has fail like others; without the pause after a failure.
    shutil.rmtree(own / "pam.d")
    (own / "pam.d").mkdir()
    (own / "pam.d/other").write_text("auth [success=1 default=ignore] pam_unix.so nodelay\nauth requisite pam_deny.so\nauth required pam_permit.so\naccount required pam_unix.so\nsession required pam_permit.so\npassword required pam_deny.so\n")
    # Whoever attacks chooses his own name in the DNS, too.
    with open(own / "hosts", "a") as hosts:
        hosts.write(f"{ATTACKER} {NEIGHBOUR}.attacker.example\n{NEIGHBOUR} neighbour.example\n{ATTACKER6} 2001-db8-9--9.attacker.example\n")
    (own / "resolv.conf").unlink(missing_ok=True)
    (own / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    sh("mount", "--move", own, "/etc")
    home = folder / "home"
    home.mkdir()
    shutil.chown(home, USER, USER)


def private_network():
    sh("ip", "link", "set", "lo", "up")
    # New namespaces begin with ten messages for the log socket, and some services do not wait until there is room.
    Path("/proc/sys/net/unix/max_dgram_qlen").write_text("10000")
    for address in (*MACHINE, *MACHINE.values()):
        plain = ":" not in address
        sh("ip", "address", "add", f"{address}/{32 if plain else 128}", "dev", "lo", *([] if plain else ["nodad"]))
    for target, source in MACHINE.items():
        family = "-6" if ":" in target else "-4"
        sh("ip", family, "route", "del", "local", target, "dev", "lo", "table", "local")
        sh("ip", family, "route", "add", "local", target, "dev", "lo", "table", "local", "src", source)


class Part:
    """A service, who attacks it, and what must be found in its logs."""

    name = ""
    # Type of the logs, and their files below `logs/`; those of one string are read together.
    kind = "syslog"
    logs = [["syslog"], ["syslog-iso"]]
    # Scenarios that must report each attacker, and one that must notice a single slip of the neighbour. Without any, the
    # log is one that can be forged, and nobody may be reported.
    expected = set()
    slip = ""
    families = FAMILIES
    # What is reported: addresses, or something else.
    scope = "Ip"
    # Types of single logs that have another one, by their names.
    kinds = {}
    # A class method that is a context manager of the part's folder: changes what the part needs of the machine itself, outside
    # of all namespaces, and puts it back afterwards. Another process runs it.
    beside = None
    # How often the address of each victim must stand in each log after the attack, so that something was tried.
    mentions = 10
    # Samples in `content/samples` whose lines are put into what clients choose.
    samples = ()

    def __init__(self, folder):
        self.folder = folder
        self.processes = []

    def prepare(self):
        """Finds programs and writes configurations; raises [`Skipped`]."""

    def serve(self):
        """Starts the service, and returns when it answers."""

    def attack(self, source, victim):
        """Attacks the service as `source`, with the address of `victim` in everything that a client chooses."""

    def visit(self, source):
        """Uses the service properly, and mistypes a password once."""

    def spellings(self, address):
        """How the address of a victim may stand in the log."""
        return [address]

    # Help for parts.

    def has_rules(self, name):
        if not (ROOT / f"content/parsers/s01-parse/{name}.yaml").exists():
            raise Skipped(f"no rules for {name}")

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, *command, **options):
        name = Path(str(command[0])).name
        output = open(self.folder / f"{name}.out", "ab")
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, start_new_session=True,
                                   **options)
        self.processes.append(process)
        return process

    def wait(self, *ports):
        """Until the service listens to these ports."""
        end = time.monotonic() + PATIENCE
        for port in ports:
            for target in ("192.0.2.1", "2001:db8::1") if len(self.families) > 1 else ("192.0.2.1",):
                while True:
                    try:
                        socket.create_connection((target, port), 2).close()
                        break
                    except OSError as error:
                        if self.processes[-1].poll() or time.monotonic() > end:
                            raise Failed(f"nothing listens to {enclosed(target)}:{port}: {error}") from error
                        time.sleep(0.02)

    def syslog(self, more=""):
        """A real syslog daemon, with `more` in its configuration; for services that write to it."""
        self.write("rsyslog.conf", RSYSLOG.format(folder=self.folder) + more)
        self.start(find("rsyslogd"), "-n", "-f", self.folder / "rsyslog.conf", "-i", self.folder / "rsyslog.pid")
        end = time.monotonic() + PATIENCE
        while not Path("/dev/log").exists():
            if time.monotonic() > end:
                raise Failed("rsyslogd does not listen")
            time.sleep(0.02)

    def stop(self):
        """Ends the service in the order in which it tells all that it has to tell: logs are whole after that."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.processes.clear()
        Path("/dev/log").unlink(missing_ok=True)

    def texts(self, victim, longest=400, breaks=True, most=None):
        """What a client may choose that looks as if the victim had done something; of many, some of each kind."""
        texts = [victim, enclosed(victim), f"x from {victim} port 22 ssh2", f'x" {victim} - - "x', f"x[{victim}]: x", f"rip={victim}, lip=192.0.2.1",
                 f'x", client: {victim}, server: x, request: "GET / HTTP/1.1", host: "x"', f"x: {victim}: x", f'Client "{victim}"', f"{victim}, {victim}"]
        for sample in self.samples:
            for line in sample_lines(sample):
                # Samples of attacks name the places of what is true and of what is chosen.
                line = re.sub(r"\{truth\}|203\.0\.113\.7|2001:db8::7", victim, line)
                line = re.sub(r"\{[a-z]+\}", "x", line)
                message = re.sub(r"^(?:<[0-9]+>)?[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} \S+ [^: ]+: ", "", line)
                texts += [line, message, f"x {message}"]
                texts += [f"x\n{line}\n", f"x\n{line}\nx", f"x\r\n{message}"] if breaks else []
        texts = list(dict.fromkeys(text for text in texts if len(text.encode()) <= longest))
        return texts if most is None or len(texts) <= most else [texts[number * len(texts) // most] for number in range(most)]


def sample_lines(name):
    text = (ROOT / f"content/samples/{name}.yaml").read_text()
    quoted = re.findall(r"(?m)^  - line: (?:'((?:[^']|'')*)'|\"((?:[^\"\\]|\\.)*)\")$", text)
    # YAML has one escape more than JSON.
    return [single.replace("''", "'") if single else json.loads(re.sub(r"((?:^|[^\\])(?:\\\\)*)\\x", r"\1\\u00", f'"{double}"')) for single, double in quoted]


def tell(target, port, *payloads, patience=0.5):
    """Sends each of these bytes in a connection of its own, and reads until the other side has no more to say."""
    def one(payload):
        with contextlib.suppress(OSError), socket.create_connection((target, port), PATIENCE) as stream:
            stream.settimeout(patience)
            stream.sendall(payload)
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(65_536):
                pass

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        list(pool.map(one, payloads))


def curl(*requests, at_once=1):
    """One curl for many requests, each a table of its options; returns the codes of the answers, `000` where there was none.

    The codes are in the order of the requests where these come one after the other.
    """
    lines = ["parallel", "parallel-immediate", f"parallel-max = {at_once}"] if at_once > 1 else []
    for number, options in enumerate(requests):
        lines.append("next" if number else "")
        for key, value in ({"silent": True, "globoff": True, "output": "/dev/null", "max-time": 10, "write-out": "%{response_code}\\n"} | options).items():
            for one in value if isinstance(value, list) else [value]:
                lines.append(key if one is True else f"{key} = {quoted(str(one))}")
    done = subprocess.run(["curl", "-q", "-K", "-"], input="\n".join(lines), capture_output=True, text=True, errors="replace", timeout=90)
    return done.stdout.split()


def quoted(text):
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(character, escape)
    return f'"{text}"'


def sharpened(folder, scope):
    """Our rules, but each scenario reports whoever does something once: not one line may be taken for another's.

    Scenarios about something else, such as an account under attack from many addresses, are left out.
    """
    for path in sorted((ROOT / "content").rglob("*.yaml")):
        if {"samples", "collections"} & set(path.parts) or path.name == "targeted.yaml":
            continue
        text = path.read_text()
        if "scenarios" in path.parts:
            other = re.search(r"(?m)^scope:\s+type: (\S+)", text)
            if (other[1] if other else "Ip") != scope:
                continue
            text = re.sub(r"(?m)^type: .*$", "type: trigger", text)
            text = re.sub(r"(?m)^(?:capacity|leakspeed|distinct|cache_size|blackhole|duration):.*\n", "", text)
        target = folder / path.relative_to(ROOT / "content")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return folder


def replay(part, binary, files, *options):
    """The scenarios that report each source, and how many lines there were and were read."""
    kind = part.kinds.get(files[0].name, part.kind)
    done = subprocess.run([str(word) for word in (binary, "replay", "-q", "-o", "json", "-k", kind, *options, *files)], capture_output=True, text=True, timeout=60)
    if done.returncode not in (0, 1) or not done.stdout:
        raise Failed(f"replay: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    sources = {}
    for address, source in report["sources"].items():
        # An IPv4 client of a socket for both is told as `::ffff:203.0.113.7`, and banned as what it is.
        with contextlib.suppress(ValueError):
            address = str(getattr(ipaddress.ip_address(address), "ipv4_mapped", None) or address)
        if source["scope"].lower() != part.scope.lower():
            continue
        sources.setdefault(address, set()).update(source["scenarios"])
    return sources, report["lines"]


def perform(part, binary):
    """The whole of a part, in its namespaces; returns a sentence about it."""
    part.prepare()
    sharp = sharpened(part.folder / "sharp", part.scope)
    part.serve()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda family: part.attack(*family), part.families))
    part.stop()
    for files in part.logs:
        check_attack(part, binary, [part.folder / "logs" / name for name in files], sharp)
    part.serve()
    for _, neighbour in part.families:
        part.visit(neighbour)
    part.stop()
    lines = [check_all(part, binary, [part.folder / "logs" / name for name in files], sharp) for files in part.logs]
    return f"{lines[0]['total']} lines, {lines[0]['parsed']} of them read; " + (", ".join(sorted(part.expected)) or "nobody reported")


def check_attack(part, binary, files, sharp):
    """After the attackers, before anybody else: nobody else did anything, whatever the lines say."""
    name = "+".join(path.name for path in files)
    text = b"".join(path.read_bytes() for path in files).decode(errors="replace")
    for attacker, victim in part.families:
        times = sum(text.count(spelling) for spelling in part.spellings(victim))
        if times < part.mentions:
            raise Failed(f"{name}: the address of {victim}, which {attacker} put into what he sent, stands in it {times} times only")
    sources, _ = replay(part, binary, files, "--rules", sharp)
    others = sources.keys() - ({attacker for attacker, _ in part.families} if part.expected else set())
    if others:
        raise Failed(f"{name}: {others} did nothing and had single lines counted against them: {[sources[other] for other in others]}\n"
                     + "".join(f"  {line}\n" for line in blamed(part, binary, files, sharp, others)))


def check_all(part, binary, files, sharp):
    """After everybody: the attackers are reported, each for all that he did, and nobody else."""
    name = "+".join(path.name for path in files)
    sources, lines = replay(part, binary, files)
    attackers = {attacker for attacker, _ in part.families} if part.expected else set()
    if sources.keys() != attackers:
        raise Failed(f"{name}: reported were {sources}, not {attackers}; {lines}")
    for attacker, scenarios in sources.items():
        if part.expected - scenarios:
            raise Failed(f"{name}: {attacker} was not reported by {part.expected - scenarios}, but by {scenarios}; {lines}")
    noticed, _ = replay(part, binary, files, "--rules", sharp)
    for _, neighbour in part.families if part.expected else []:
        if part.slip not in noticed.get(neighbour, ()):
            raise Failed(f"{name}: the one slip of {neighbour} was not read: {part.slip} is not among {noticed.get(neighbour)}")
    return lines


def blamed(part, binary, files, sharp, others):
    """The lines that are counted against somebody who did nothing: those that do so alone."""
    found = []
    lines = [line for path in files for line in path.read_bytes().split(b"\n") if any(other.encode() in line for other in others)]
    for line in lines[:100]:
        alone = part.folder / "alone" / files[0].name
        alone.parent.mkdir(exist_ok=True)
        alone.write_bytes(line + b"\n")
        if len(found) < 5 and replay(part, binary, [alone], "--rules", sharp)[0].keys() & others:
            found.append(line.decode(errors="replace"))
    return found
