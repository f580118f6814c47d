"""Attacks on services that are neither web, mail nor file servers: logging in, and databases."""

import concurrent.futures
import contextlib
import os
import pwd
import select
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from stage import ATTACKER, ATTACKER6, NEIGHBOUR, NEIGHBOUR6, OTHER_USER, PASSWORD, PATIENCE, TO_MACHINE, USER, Failed, Part, curl, enclosed, find, sh, tell


class Sshd(Part):
    name = "sshd"
    expected = {"testudo/ssh-bruteforce", "testudo/ssh-slow-bruteforce", "testudo/ssh-user-enumeration"}
    slip = "testudo/ssh-bruteforce"
    samples = ["sshd"]
    port = 22

    def prepare(self):
        self.sshd, self.ssh = find("sshd"), find("ssh")
        find("rsyslogd")
        if "sftp" not in sh("curl", "-V"):
            raise Failed("curl speaks no SFTP")
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key")
        self.write("sshd_config", f"""\
HostKey {self.folder}/host_key
PidFile none
UsePAM yes
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 100
LoginGraceTime 10
PerSourceMaxStartups none
""")
        for name, answer in (("wrong", "wrong"), ("right", PASSWORD)):
            self.write(name, f"#!/bin/sh\necho {answer}\n").chmod(0o755)

    def serve(self):
        self.syslog()
        self.start(self.sshd, "-D", "-f", self.folder / "sshd_config")
        self.wait(self.port)

    def log_in(self, source, user, answer, tries=3):
        command = [self.ssh, "-F", "none", "-p", str(self.port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", "PreferredAuthentications=password", "-o", f"NumberOfPasswordPrompts={tries}", "-o", "ConnectTimeout=5", "-l", user,
                   TO_MACHINE[source], "true"]
        environment = os.environ | {"SSH_ASKPASS": str(self.folder / answer), "SSH_ASKPASS_REQUIRE": "force"}
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, env=environment).returncode

    def attack(self, source, victim):
        for user in ["root"] * 3 + [f"admin{number}" for number in range(7)]:
            self.log_in(source, user, "wrong")
        target = enclosed(TO_MACHINE[source])
        texts = self.texts(victim, most=70)
        # sshd takes what comes after a colon for something else than the name, and so does curl.
        curl(*({"url": f"sftp://{target}:{self.port}/", "user": f"{text}:wrong", "insecure": True} for text in texts), at_once=8)
        # sshd writes a backslash as four, and cuts its messages off at 500 bytes: here, behind the forged end.
        forged = f" {victim} port 22 [preauth]"
        slashes, rest = divmod(500 - len("Connection closed by invalid user ") - len(forged), 4)
        self.log_in(source, "\\" * slashes + "x" * rest + forged, "wrong")
        # What is no SSH at all, and protocol banners of the client's choice.
        tell(TO_MACHINE[source], self.port, *(f"{banner}{text}\r\n".encode() for text in texts[:20] for banner in ("", "SSH-2.0-")))

    def visit(self, source):
        self.log_in(source, USER, "wrong", tries=1)
        if self.log_in(source, USER, "right") != 0:
            raise Failed(f"{source} cannot log in")


class Postgresql(Part):
    name = "postgresql"
    kind = "postgresql"
    logs = [["log.json"]]
    expected = {"testudo/database-bruteforce"}
    slip = "testudo/database-bruteforce"
    samples = ["postgresql"]

    def prepare(self):
        self.psql = find("psql")
        folders = sorted(path for path in os.listdir("/usr/lib/postgresql") if path.isdigit()) if os.path.isdir("/usr/lib/postgresql") else []
        self.postgres = find(f"postgresql/{folders[-1]}/bin/postgres" if folders else "postgres")
        initdb = find(f"postgresql/{folders[-1]}/bin/initdb" if folders else "initdb")
        self.data = self.folder / "data"
        self.data.mkdir()
        for folder in (self.data, self.folder / "logs"):
            shutil.chown(folder, "postgres", "postgres")
        sh("setpriv", "--reuid", str(pwd.getpwnam("postgres").pw_uid), "--clear-groups", initdb, "-D", self.data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C.UTF-8", cwd="/")
        (self.data / "pg_hba.conf").write_text("local all all trust\nhost all all all scram-sha-256\n")

    def serve(self):
        account = str(pwd.getpwnam("postgres").pw_uid)
        settings = ["listen_addresses=*", f"unix_socket_directories={self.data}", "log_destination=jsonlog", "logging_collector=on",
                    f"log_directory={self.folder}/logs", "log_filename=log", "log_connections=on", "log_timezone=UTC", "fsync=off"]
        self.start("setpriv", "--reuid", account, "--clear-groups", self.postgres, "-D", self.data, *(word for one in settings for word in ("-c", one)))
        self.wait(5432)
        self.ask(["-h", self.data, "-U", "postgres", "-c", f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"], "")

    def ask(self, arguments, password, **more):
        return subprocess.run([self.psql, "-X", "-w", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
                              env=os.environ | {"PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10", "PGDATABASE": "postgres"} | more)

    def attack(self, source, victim):
        target = TO_MACHINE[source]
        guesses = [{"PGUSER": name} for name in ["postgres"] * 8 + ["root"] * 8]
        guesses += [{"PGUSER": "postgres", variable: text} for text in self.texts(victim, most=40) for variable in ("PGUSER", "PGDATABASE", "PGAPPNAME")]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda guess: self.ask(["-h", target, "-c", ""], "wrong", **guess), guesses))

    def visit(self, source):
        self.ask(["-h", TO_MACHINE[source], "-U", USER, "-c", ""], "wrong")
        if self.ask(["-h", TO_MACHINE[source], "-U", USER, "-c", ""], PASSWORD).returncode != 0:
            raise Failed(f"{source} cannot log in")


class Mariadb(Part):
    name = "mariadb"
    expected = {"testudo/database-bruteforce"}
    slip = "testudo/database-bruteforce"
    samples = ["mariadb"]
    port = 3306

    def prepare(self):
        self.has_rules("mariadb")
        self.server, self.client, install = find("mariadbd"), find("mariadb"), find("mariadb-install-db")
        find("rsyslogd")
        self.data = self.folder / "data"
        self.data.mkdir()
        shutil.chown(self.data, "mysql", "mysql")
        sh(install, "--no-defaults", f"--datadir={self.data}", "--user=mysql", "--auth-root-authentication-method=normal", "--skip-test-db")

    def serve(self):
        self.syslog()
        self.start(self.server, "--no-defaults", f"--datadir={self.data}", "--user=mysql", f"--socket={self.data}/socket", f"--port={self.port}", "--bind-address=*",
                   "--skip-name-resolve", "--plugin-load-add=server_audit", "--server-audit-logging=ON", "--server-audit-events=CONNECT", "--server-audit-output-type=syslog")
        self.wait(self.port)
        sh(self.client, "--no-defaults", f"--socket={self.data}/socket", "-u", "root", "-e", f"CREATE USER IF NOT EXISTS {USER} IDENTIFIED BY '{PASSWORD}'; SET GLOBAL max_connect_errors=1000000")

    def log_in(self, source, user, password, database=""):
        command = [self.client, "--no-defaults", "-h", TO_MACHINE[source], "-P", str(self.port), "-u", user, f"-p{password}", "-e", "", *([database] if database else [])]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE).returncode

    def attack(self, source, victim):
        for user in ["root"] * 8 + [f"admin{number}" for number in range(8)]:
            self.log_in(source, user, "wrong")
        for text in self.texts(victim, most=60):
            self.log_in(source, text, "wrong")
            # The server takes no more than eighty characters, and others than its own client send more.
            self.log_in(source, f"x,{victim},1,0,FAILED_CONNECT,,,1045"[:80], "wrong", text)

    def visit(self, source):
        self.log_in(source, USER, "wrong")
        if self.log_in(source, USER, PASSWORD) != 0:
            raise Failed(f"{source} cannot log in")


class Sudo(Part):
    """Nobody comes from elsewhere here: who attacks and who does not are users of the machine."""

    name = "sudo"
    expected = {"testudo/local-bruteforce"}
    slip = "testudo/local-bruteforce"
    families = [(USER, OTHER_USER)]
    scope = "username"
    samples = ["pam"]

    def prepare(self):
        self.has_rules("pam")
        self.su, self.sudo = find("su"), find("sudo")
        find("rsyslogd")
        sudoers = Path("/etc/sudoers")
        sudoers.unlink(missing_ok=True)
        sudoers.write_text(f"{OTHER_USER} ALL=(ALL) ALL\n{USER} ALL=(ALL) ALL\n")
        sudoers.chmod(0o440)

    def serve(self):
        self.syslog()

    def ask(self, source, password, *command, **options):
        command = ["setpriv", "--reuid", source, "--regid", source, "--clear-groups", *command]
        return subprocess.run(command, input=f"{password}\n", text=True, capture_output=True, timeout=PATIENCE, **{"cwd": "/"} | options).returncode

    def attack(self, source, victim):
        for _ in range(3):
            self.ask(source, "wrong", self.su, "root", "-c", "true")
        # Names of files, folders, users and variables are the client's.
        for text in self.texts(victim, longest=120, most=40):
            text = f"{text.replace('/', ' ')} ruser={victim} rhost= "
            (self.folder / "home" / text).mkdir(exist_ok=True)
            self.ask(source, "wrong", self.sudo, "-S", "-k", f"A={text}", "/bin/echo", text, cwd=self.folder / "home" / text)
            self.ask(source, "wrong", self.sudo, "-S", "-k", "-p", text, "-r", text, "/bin/true")
            self.ask(source, "wrong", self.sudo, "-S", "-k", "-u", text, "/bin/true")

    def visit(self, source):
        self.ask(source, "wrong", self.sudo, "-S", "-k", "/bin/true")
        if self.ask(source, PASSWORD, self.sudo, "-S", "-k", "/bin/true") != 0:
            raise Failed(f"{source} cannot become root")


class Telnet(Part):
    """login, to which telnetd hands whoever comes, with the name that the DNS has for him: another one's address."""

    name = "telnet"
    samples = ["pam"]
    port = 23

    def prepare(self):
        self.has_rules("pam")
        self.telnetd, self.telnet = find("telnetd"), find("telnet")
        find("login")
        find("rsyslogd")
        Path("/etc/hosts").write_text(f"{ATTACKER} {NEIGHBOUR}\n{ATTACKER6} {NEIGHBOUR6}\n")
        # Names that nobody has are told, too.
        with open("/etc/login.defs", "a") as settings:
            settings.write("LOG_UNKFAIL_ENAB yes\n")

    def serve(self):
        self.syslog()
        self.sockets = [socket.create_server(("0.0.0.0", self.port)), socket.create_server(("::", self.port), family=socket.AF_INET6)]
        for listener in self.sockets:
            threading.Thread(target=self.hand_over, args=[listener], daemon=True).start()

    def hand_over(self, listener):
        """What inetd does, until nobody listens any more."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as children:
            while True:
                connection, _ = listener.accept()
                with connection:
                    children.enter_context(subprocess.Popen([self.telnetd], stdin=connection, stdout=connection, stderr=connection, start_new_session=True))

    def stop(self):
        for listener in self.__dict__.pop("sockets", []):
            with listener:
                listener.shutdown(socket.SHUT_RDWR)
        super().stop()

    def log_in(self, source, names, password):
        """Answers the questions of login; whether it lets in."""
        with subprocess.Popen([self.telnet, "-K", "-E", TO_MACHINE[source], str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              bufsize=0) as client:
            try:
                seen = b""
                for name in names:
                    if b"login: " not in seen:
                        self.read(client.stdout, b"login: ")
                    client.stdin.write(name.encode() + b"\n")
                    # Of some names it does not ask for the password.
                    seen = self.read(client.stdout, b"Password: ", b"login: ")
                    if b"Password: " in seen:
                        client.stdin.write(password.encode() + b"\n")
                        seen = self.read(client.stdout, b"$ ", b"login: ", b"Maximum number of tries")
                return seen.endswith(b"$ ")
            except OSError:
                return False
            finally:
                client.kill()

    @staticmethod
    def read(stream, *ends):
        """What comes, up to one of these ends."""
        seen = b""
        deadline = time.monotonic() + PATIENCE
        while not any(end in seen for end in ends):
            ready, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
            more = os.read(stream.fileno(), 4_096) if ready else b""
            if not more:
                raise ConnectionResetError(f"after {seen}")
            seen += more
        return seen

    def attack(self, source, victim):
        for _ in range(4):
            self.log_in(source, ["root", "admin", "nobody"], "wrong")
        for text in self.texts(victim, longest=200, breaks=False, most=30):
            # login has more to say of names that look like options.
            self.log_in(source, [text, f"-{text}", f"+ rhost={victim}  user=x"], "wrong")

    def visit(self, source):
        self.log_in(source, [USER], "wrong")
        if not self.log_in(source, [USER], PASSWORD):
            raise Failed(f"{source} cannot log in")


PARTS = [Sshd, Postgresql, Mariadb, Sudo, Telnet]
