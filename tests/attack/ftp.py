"""Attacks on servers of files: guessed passwords over FTP and SMB."""

import contextlib
import os
import signal

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
    log = "dual_log_enable=YES\nxferlog_enable=YES\nvsftpd_log_file={folder}/logs/vsftpd.log\nxferlog_file={folder}/logs/xferlog"

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
    log = "dual_log_enable=YES\nxferlog_enable=YES\nsyslog_enable=YES"


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


PARTS = [Vsftpd, VsftpdSyslog, Proftpd, ProftpdFile]
