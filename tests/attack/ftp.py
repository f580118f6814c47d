"""Attacks on servers of files: guessed passwords over FTP and SMB."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess

from stage import PASSWORD, PATIENCE, TO_MACHINE, USER, Failed, Part, curl, enclosed, find, sh, tell

FTP = 2121


class Ftp(Part):
    expected = {"testudo/ftp-bruteforce"}
    slip = "testudo/ftp-bruteforce"

    def attack(self, source, victim):
        url = f"ftp://{enclosed(TO_MACHINE[source])}:{FTP}/"
        curl(*({"url": url, "user": f"{user}:wrong"} for user in [USER] * 8 + [f"admin{number}" for number in range(8)]), at_once=8)
        texts = self.texts(victim)
        # A line break ends a command, so that what follows is one of its own.
        tell(TO_MACHINE[source], FTP, *(f"USER {text}\r\nPASS {text}\r\nQUIT\r\n".encode() for text in texts), *(f"{text}\r\n".encode() for text in texts[:30]),
             # With the quote that the server writes behind a command.
             *(f"USER x\r\nHELP {text}\r\nHELP ] FAIL LOGIN: Client \"{victim}\r\nQUIT\r\n".encode() for text in texts[:30]),
             *(f"USER x\0{text}\xff\r\nPASS x\r\nQUIT\r\n".encode("latin-1", "replace") for text in texts[:30]), patience=2)

    def visit(self, source):
        url = f"ftp://{enclosed(TO_MACHINE[source])}:{FTP}/"
        curl({"url": url, "user": f"{USER}:wrong"})
        sh("curl", "-q", "-sS", "--max-time", "10", "--user", f"{USER}:{PASSWORD}", url)


class Vsftpd(Ftp):
    name = "vsftpd"
    kind = "vsftpd"
    logs = [["vsftpd.log"]]
    samples = ["vsftpd"]
    log = "dual_log_enable=YES\nxferlog_enable=YES\nlog_ftp_protocol=YES\nvsftpd_log_file={folder}/logs/vsftpd.log\nxferlog_file={folder}/logs/xferlog"

    def prepare(self):
        self.vsftpd = find("vsftpd")
        (self.folder / "empty").mkdir()
        # As Debian has it: one socket for IPv4 and IPv6.
        self.config = self.write("vsftpd.conf", f"""\
listen=NO
listen_ipv6=YES
listen_port={FTP}
background=NO
anonymous_enable=NO
local_enable=YES
secure_chroot_dir={self.folder}/empty
pam_service_name=vsftpd
delay_failed_login=0
delay_successful_login=0
max_clients=0
max_per_ip=0
{self.log.format(folder=self.folder)}
""")

    def serve(self):
        if "syslog" in self.log:
            self.syslog()
        self.start(self.vsftpd, self.config)
        self.wait(FTP)


class VsftpdSyslog(Vsftpd):
    name = "vsftpd-syslog"
    kind = "syslog"
    logs = [["syslog"], ["syslog-iso"]]
    log = "dual_log_enable=YES\nxferlog_enable=YES\nlog_ftp_protocol=YES\nsyslog_enable=YES"


class Proftpd(Ftp):
    name = "proftpd"
    samples = ["proftpd"]
    log = ""

    def prepare(self):
        self.proftpd = find("proftpd")
        hashed = sh("openssl", "passwd", "-6", PASSWORD).strip()
        self.write("passwd", f"{USER}:{hashed}:42001:42001::{self.folder}/home:/bin/sh\n").chmod(0o600)
        self.config = self.write("proftpd.conf", f"""\
ServerName site
ServerType standalone
DefaultServer on
UseIPv6 on
UseReverseDNS on
Port {FTP}
User nobody
Group nogroup
PidFile {self.folder}/proftpd.pid
ScoreboardFile {self.folder}/scoreboard
WtmpLog off
TransferLog none
AuthOrder mod_auth_file.c
AuthUserFile {self.folder}/passwd
RequireValidShell off
MaxInstances 200
{self.log.format(folder=self.folder)}
<IfModule mod_delay.c>
DelayEngine off
</IfModule>
""")

    def serve(self):
        if not self.log:
            self.syslog()
        # In the foreground it writes to its terminal instead.
        self.start(self.proftpd, "-c", self.config).wait(PATIENCE)
        self.wait(FTP)

    def stop(self):
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "proftpd.pid").read_text())
            os.kill(pid, signal.SIGTERM)
            # Orphans are children of the first process.
            os.waitpid(pid, 0)
        super().stop()


class ProftpdFile(Proftpd):
    """The file in which names write entries of their own: nobody is reported for what stands there."""

    name = "proftpd-file"
    kind = "proftpd"
    logs = [["proftpd.log"]]
    expected = set()
    log = "SystemLog {folder}/logs/proftpd.log"


class Samba(Part):
    name = "samba"
    kind = "samba"
    logs = [["samba.log"]]
    expected = {"testudo/smb-bruteforce"}
    slip = "testudo/smb-bruteforce"
    samples = ["samba"]
    port = 4450

    def prepare(self):
        self.has_rules("samba")
        self.smbd, self.smbclient = find("smbd"), find("smbclient")
        folder = self.folder
        for name in ("private", "lock", "state", "cache", "pid", "files", "ncalrpc"):
            (folder / name).mkdir(mode=0o755)
        self.config = self.write("smb.conf", f"""\
[global]
server role = standalone server
workgroup = SITE
netbios name = FILES
smb ports = {self.port}
private dir = {folder}/private
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}/pid
ncalrpc dir = {folder}/ncalrpc
passdb backend = tdbsam
map to guest = never
disable netbios = yes
disable spoolss = yes
load printers = no
log file = {folder}/logs/samba.log
max log size = 0
log level = 1 auth_json_audit:2
[files]
path = {folder}/files
""")
        sh(find("smbpasswd"), "-c", self.config, "-s", "-a", USER, input=f"{PASSWORD}\n{PASSWORD}\n")

    def serve(self):
        self.start(self.smbd, "-F", "--no-process-group", "-s", self.config)
        self.wait(self.port)

    def log_in(self, source, user, password, workgroup="SITE"):
        command = [self.smbclient, f"//{TO_MACHINE[source]}/files", "-s", "/dev/null", "-p", str(self.port), "-W", workgroup, "-U", f"{user}%{password}", "-c", "ls"]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE).returncode

    def attack(self, source, victim):
        texts = [text.replace("%", " ") for text in self.texts(victim, longest=200, most=60)]
        guesses = [(USER, "SITE")] * 8 + [(f"admin{number}", "SITE") for number in range(8)] + [(text, "SITE") for text in texts] + [("x", text) for text in texts[:20]]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda guess: self.log_in(source, guess[0], "wrong", guess[1]), guesses))

    def visit(self, source):
        self.log_in(source, USER, "wrong")
        if self.log_in(source, USER, PASSWORD) != 0:
            raise Failed(f"{source} cannot log in")


PARTS = [Vsftpd, VsftpdSyslog, Proftpd, ProftpdFile, Samba]
