"""Attacks on mail servers: guessed passwords over SMTP, IMAP and POP3, relaying, guessed recipients, what is no SMTP."""

import concurrent.futures
import contextlib
import functools
import shutil
import smtplib

from stage import PASSWORD, PATIENCE, TO_MACHINE, USER, Failed, Part, curl, enclosed, find, sh, tell

SMTP, IMAP, POP3 = 2525, 1143, 1110


def dovecot_config(part, more=""):
    """Dovecot in the part's folder, with one account and no pauses; returns the file."""
    part.write("users", f"{USER}:{{PLAIN}}{PASSWORD}:42001:42001::{part.folder}/home::\n").chmod(0o644)
    return part.write("dovecot.conf", f"""
base_dir = {part.folder}/dovecot
state_dir = {part.folder}/dovecot-state
login_trusted_networks =
listen = *, ::
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_verbose = yes
mail_location = maildir:{part.folder}/home/mail
passdb {{
  driver = passwd-file
  args = {part.folder}/users
}}
userdb {{
  driver = passwd-file
  args = {part.folder}/users
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
{more}
""")


class Dovecot(Part):
    name = "dovecot"
    expected = {"testudo/mail-bruteforce"}
    slip = "testudo/mail-bruteforce"
    samples = ["dovecot"]
    log = ""

    def prepare(self):
        self.dovecot = find("dovecot")
        # The protocols have packages of their own.
        for name in ("imap-login", "pop3-login"):
            find(f"dovecot/{name}")
        self.config = dovecot_config(self, f"""{self.log.format(folder=self.folder)}
protocols = imap pop3
service imap-login {{
  inet_listener imap {{
    port = {IMAP}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {POP3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
""")

    def serve(self):
        if not self.log:
            self.syslog()
        self.start(self.dovecot, "-F", "-c", self.config)
        self.wait(IMAP, POP3)

    def urls(self, source):
        target = enclosed(TO_MACHINE[source])
        return [f"imap://{target}:{IMAP}/INBOX", f"pop3://{target}:{POP3}/"]

    def attack(self, source, victim):
        users = [USER] * 6 + [f"info{number}" for number in range(6)]
        curl(*({"url": url, "user": f"{user}:wrong", "login-options": options} for user in users for url in self.urls(source) for options in ("AUTH=PLAIN", "AUTH=LOGIN")), at_once=30)
        texts = self.texts(victim, most=60)
        # A colon ends curl's name; in names of old protocols there is none.
        curl(*({"url": url, "user": f"{text.replace(':', ';')}:wrong"} for text in texts for url in self.urls(source)), at_once=30)
        imap = [f'a ID ("name" "{text}")\r\nb LOGIN {{{len(text.encode())}+}}\r\n{text} wrong\r\nc LOGOUT\r\n' for text in texts]
        pop3 = [f"USER {text}\r\nPASS wrong\r\nQUIT\r\n" for text in texts]
        for port, told in ((IMAP, imap), (POP3, pop3)):
            tell(TO_MACHINE[source], port, *(one.encode() for one in told), *(f"{text}\r\n".encode() for text in texts[:20]))

    def visit(self, source):
        for url in self.urls(source):
            curl({"url": url, "user": f"{USER}:wrong"})
            sh("curl", "-q", "-sS", "--max-time", "10", "--user", f"{USER}:{PASSWORD}", url, *(["-X", "NOOP"] if url.startswith("imap") else []))


class DovecotFile(Dovecot):
    name = "dovecot-file"
    kind = "dovecot"
    logs = [["dovecot.log"]]
    log = "log_path = {folder}/logs/dovecot.log"


class Smtp(Part):
    """What is done to every SMTP server."""

    expected = {"testudo/mail-bruteforce", "testudo/smtp-abuse"}
    slip = "testudo/mail-bruteforce"

    def attack(self, source, victim):
        target = TO_MACHINE[source]
        swaks = [find("swaks"), "--server", target, "--port", str(SMTP), "--helo", "client.example", "--timeout", "10", "--hide-all"]
        self.run(*swaks, "--to", "someone@elsewhere.example", "--from", "a@b.example", "--quit-after", "RCPT")
        self.run(*swaks, "--to", f"{USER}@site.example", "--auth-user", USER, "--auth-password", "wrong", "--quit-after", "AUTH", "--auth", "LOGIN")
        # At once: Dovecot answers wrong passwords twice a second.
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            list(pool.map(functools.partial(self.guess, source), [f"info{number % 3}" for number in range(12)]))
            list(pool.map(functools.partial(self.inject, source), self.texts(victim, longest=300, most=60)))
        with self.connection(source) as client:
            client.ehlo("client.example")
            client.mail("a@b.example")
            for number in range(8):
                for recipient in (f"someone{number}@elsewhere.example", f"nobody{number}@site.example"):
                    with contextlib.suppress(smtplib.SMTPException):
                        client.rcpt(recipient)
        tell(target, SMTP, *(f"{text}\r\n".encode() for text in self.texts(victim, most=30)), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
             *(f"EHLO x\r\n{text}\r\n".encode() for text in self.texts(victim, most=30)))

    def run(self, *command):
        try:
            sh(*command)
        except Failed:
            return False
        return True

    def guess(self, source, user):
        with self.connection(source) as client:
            self.log_in(client, user, "wrong")

    def inject(self, source, text):
        """The text in each command of SMTP that takes one."""
        line = text.replace("\r", " ").replace("\n", " ")
        try:
            with self.connection(source) as client:
                client.ehlo(line)
                self.log_in(client, text, "wrong")
                client.docmd("MAIL", f"FROM:<{line}>")
                client.docmd("RSET")
                client.docmd("MAIL", f"FROM:<\"{line}\"@b.example>")
                client.docmd("MAIL", "FROM:<a@b.example>")
                for recipient in (line, f'"{line}"@site.example', f'"{line}"@elsewhere.example', f"x@{line}"):
                    client.docmd("RCPT", f"TO:<{recipient}>")
                client.docmd("VRFY", line)
        except (smtplib.SMTPException, OSError):
            pass
        try:
            with self.connection(source) as client:
                client.helo(line)
                client.docmd("MAIL", "FROM:<a@b.example>")
                for number in range(3):
                    client.docmd("RCPT", f"TO:<{number}@elsewhere.example>")
                client.docmd("AUTH", f"LOGIN {line}")
                client.docmd(line, line)
        except (smtplib.SMTPException, OSError):
            pass

    def connection(self, source):
        client = smtplib.SMTP(TO_MACHINE[source], SMTP, local_hostname="client.example", timeout=PATIENCE)
        return client

    def log_in(self, client, user, password):
        client.ehlo_or_helo_if_needed()
        client.user, client.password = user, password
        try:
            return client.auth("PLAIN", lambda challenge=None: f"\0{user}\0{password}")[0]
        except (smtplib.SMTPException, UnicodeEncodeError):
            return 0

    def visit(self, source):
        with self.connection(source) as client:
            self.log_in(client, USER, "wrong")
        with self.connection(source) as client:
            if self.log_in(client, USER, PASSWORD) != 235:
                raise Failed(f"{source} cannot log in")
            client.mail("kim@site.example")
            if client.rcpt(f"{USER}@site.example")[0] != 250:
                raise Failed(f"{source} cannot send")


class Postfix(Smtp):
    name = "postfix"
    samples = ["postfix"]

    def prepare(self):
        self.postfix, self.dovecot = find("postfix"), find("dovecot")
        find("rsyslogd")
        folder = self.folder
        for name in ("spool", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        self.dovecot_config = dovecot_config(self, f"""
log_path = {folder}/dovecot.out
protocols =
service auth {{
  unix_listener {folder}/sasl {{
    mode = 0666
  }}
}}
""")
        self.write("postfix/main.cf", f"""
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
myhostname = mail.site.example
mydestination = site.example
mynetworks = 127.0.0.0/8
inet_interfaces = all
inet_protocols = all
local_recipient_maps = inline:{{{USER}=x}}
alias_maps =
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/sasl
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
disable_vrfy_command = no
smtpd_error_sleep_time = 0
smtpd_junk_command_limit = 20
smtpd_client_connection_count_limit = 0
notify_classes =
""")
        services = [f"{SMTP} inet n - n - - smtpd", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "rewrite unix - - n - - trivial-rewrite",
                    "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify",
                    "flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap", "proxywrite unix - - n - 1 proxymap", "local unix - n n - - local",
                    "error unix - - n - - error", "retry unix - - n - - error", "discard unix - - n - - discard", "anvil unix - - n - 1 anvil",
                    "scache unix - - n - 1 scache", "showq unix n - n - - showq", "postlog unix-dgram n - n - 1 postlogd"]
        self.write("postfix/master.cf", "\n".join(services) + "\n")

    def serve(self):
        self.syslog()
        self.start(self.dovecot, "-F", "-c", self.dovecot_config)
        self.start(self.postfix, "-c", self.folder / "postfix", "start-fg")
        self.wait(SMTP)


class Exim(Smtp):
    name = "exim"
    kind = "exim4"
    logs = [["mainlog"]]
    samples = ["exim"]

    def prepare(self):
        self.exim = find("exim4", "exim")
        folder = self.folder
        (folder / "spool").mkdir()
        shutil.chown(folder / "spool", "Debian-exim", "Debian-exim")
        self.config = self.write("exim.conf", f"""
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {folder}/spool
log_file_path = {self.log.format(folder=folder)}
pid_file_path = {folder}/exim.pid
primary_hostname = mail.site.example
host_lookup = *
domainlist local_domains = site.example
daemon_smtp_ports = {SMTP}
smtp_accept_max = 500
local_interfaces = 0.0.0.0 ; ::0
tls_advertise_hosts =
acl_smtp_rcpt = check_rcpt
acl_smtp_vrfy = accept
begin acl
check_rcpt:
  accept authenticated = *
  require message = relay not permitted
          domains = +local_domains
  require verify = recipient
  accept
begin routers
local:
  driver = accept
  domains = +local_domains
  local_parts = {USER}
  transport = drop
begin transports
drop:
  driver = appendfile
  file = /dev/null
  user = Debian-exim
begin authenticators
plain_server:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
login_server:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{{USER}}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
""".replace("local_interfaces = 0.0.0.0 ; ::0", "local_interfaces = <; 0.0.0.0 ; ::0"))

    log = "{folder}/logs/%slog"

    def serve(self):
        shutil.chown(self.folder / "logs", "Debian-exim", "Debian-exim")
        if "syslog" in self.log:
            self.syslog()
        self.start(self.exim, "-C", self.config, "-bdf")
        self.wait(SMTP)


class EximSyslog(Exim):
    name = "exim-syslog"
    kind = "syslog"
    logs = [["syslog"], ["syslog-iso"]]
    log = "syslog"


PARTS = [Dovecot, DovecotFile, Postfix, Exim, EximSyslog]
