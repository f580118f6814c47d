"""Logs of services, made of lines that the real ones wrote (see tests/attack), with other addresses, names and times.

One line in twenty-five is an attacker's. Nothing is left to chance: the same number of lines is the same log.
"""

import random
import re
import time
from dataclasses import dataclass

SEED = 5
BEGIN = 1_796_000_000
LINES_PER_SECOND = 20
ATTACKS = 0.04
VISITORS, ATTACKERS = 5_000, 50
# Attackers come one after the other: so many lines later the next one begins.
TURN = 500

AGENTS = [f"Mozilla/5.0 (X11; Linux x86_64; rv:{number}.0) Gecko/20100101 Firefox/{number}.0" for number in range(110, 130)] + [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{number}.0.0.0 Safari/537.36" for number in range(110, 130)]
PAGES = ["/", "/about.html", *(f"/articles/{number}/a-title-of-some-words" for number in range(300)), *(f"/search?q=word{number}&page=2" for number in range(50)),
         *(f"/static/{name}" for name in ("site.css", "site.js", "logo.svg", "font.woff2", "photo-1.jpg", "photo-2.jpg"))] + ["/static/site.css", "/static/site.js"] * 60
PROBES = ["/.env", "/.git/config", "/wp-login.php", "/backup.zip", "/phpinfo.php", *(f"/no-such-page-{number}.php" for number in range(100)),
          "/download?file=../../../etc/passwd", "/?id=1+union+select+1,2,3", "/?q=%3Cscript%3Ealert(2)%3C/script%3E", "/cgi-bin/test.cgi", "/admin/"]
USERS = ["root", "admin", "test", "info", "kim", "backup", "deploy", "postgres"]


@dataclass(frozen=True)
class Service:
    """What a service writes: its type in acquisition, its collection in the hub, and lines with their weights."""

    name: str
    kind: str
    collection: str
    innocent: tuple
    hostile: tuple
    # Where the hub's parser reads whole lines.
    hub_kind: str = ""

    @property
    def own(self):
        """Our collection of it."""
        return "testudo/" + {"apache2": "apache"}.get(self.name, self.name)


COMBINED = '<ip> - - [<clf>] "GET <page> HTTP/1.1" <status> <bytes> "-" "<agent>"'
CADDY = ('{"level":"info","ts":<unix>,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"<ip>","remote_port":"<port>","client_ip":"<ip>","proto":"HTTP/1.1","method":"GET",'
         '"host":"site.example","uri":"<page>","headers":{"User-Agent":["<agent>"],"Accept":["*/*"]}},"user_id":"","duration":0.000055613,"size":<bytes>,"status":<status>,'
         '"resp_headers":{"Server":["Caddy"],"Etag":["\\"tpb7fmi\\""],"Content-Type":["text/html; charset=utf-8"],"Last-Modified":["Mon, 30 Nov 2026 09:52:34 GMT"],"Accept-Ranges":["bytes"],"Content-Length":["<bytes>"]}}')
HAPROXY = '<syslog> proxy haproxy[90]: <ip>:<port> [<clf_ms>] web app/s1 0/0/1/2/3 <status> <bytes> - - ---- 1/1/0/0/0 0/0 "GET <page> HTTP/1.1"'
TRAEFIK = ('{"ClientAddr":"<ip>:<port>","ClientHost":"<ip>","ClientPort":"<port>","ClientUsername":"-","DownstreamContentSize":<bytes>,"DownstreamStatus":<status>,"Duration":282389,"OriginContentSize":<bytes>,'
           '"OriginDuration":223532,"OriginStatus":<status>,"Overhead":58857,"RequestAddr":"site.example","RequestContentSize":0,"RequestCount":<number>,"RequestHost":"site.example","RequestMethod":"GET","RequestPath":"<page>",'
           '"RequestPort":"-","RequestProtocol":"HTTP/1.1","RequestScheme":"http","RetryAttempts":0,"RouterName":"all@file","ServiceAddr":"127.0.0.1:8089","ServiceName":"site@file","ServiceURL":"http://127.0.0.1:8089",'
           '"StartLocal":"<iso>","StartUTC":"<iso>","entryPointName":"web","level":"info","msg":"","request_User-Agent":"<agent>","time":"<iso>"}')


def web(name, kind, line, guess=None):
    """A web server: most pages are there; attackers ask for others."""
    found, missing = line.replace("<status>", "200"), line.replace("<status>", "404")
    hostile = [(8, missing.replace("<page>", "<probe>")), (1, found.replace("<agent>", "sqlmap/1.7 (https://sqlmap.org)"))]
    return Service(name, kind, f"crowdsecurity/{name}", ((40, found), (1, missing)), tuple(hostile + ([(3, guess)] if guess else [])))


SERVICES = [
    Service("sshd", "syslog", "crowdsecurity/sshd", (
        (3, "<syslog> host sshd[<pid>]: Accepted publickey for deploy from <ip> port <port> ssh2: ED25519 SHA256:l9kzKXWUdCqPEuWFbmOtzsdGw6FeTjAN4XMRvx4KC2U"),
        (3, "<syslog> host sshd[<pid>]: pam_unix(sshd:session): session opened for user deploy(uid=1001) by (uid=0)"),
        (3, "<syslog> host sshd[<pid>]: Received disconnect from <ip> port <port>:11: disconnected by user"),
        (3, "<syslog> host sshd[<pid>]: Disconnected from user deploy <ip> port <port>"),
        (3, "<syslog> host sshd[<pid>]: pam_unix(sshd:session): session closed for user deploy"),
        (1, "<syslog> host CRON[<pid>]: (root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)"),
        (1, "<syslog> host systemd[1]: Started session-<number>.scope - Session <number> of User deploy."),
    ), (
        (2, "<syslog> host sshd[<pid>]: Failed password for root from <ip> port <port> ssh2"),
        (2, "<syslog> host sshd[<pid>]: Invalid user <user> from <ip> port <port>"),
        (2, "<syslog> host sshd[<pid>]: Failed password for invalid user <user> from <ip> port <port> ssh2"),
        (2, "<syslog> host sshd[<pid>]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=<ip>  user=root"),
        (1, "<syslog> host sshd[<pid>]: Connection closed by authenticating user root <ip> port <port> [preauth]"),
    )),
    web("nginx", "nginx", COMBINED, '<ip> - <user> [<clf>] "GET /private/ HTTP/1.1" 401 179 "-" "<agent>"'),
    web("apache2", "apache2", COMBINED, '[<ctime_us>] [auth_basic:error] [pid <pid>:tid 140001] [client <ip>:<port>] AH01618: user <user> not found: /private/'),
    web("caddy", "caddy", CADDY),
    web("haproxy", "syslog", HAPROXY),
    web("traefik", "traefik", TRAEFIK),
    Service("postfix", "syslog", "crowdsecurity/postfix", (
        (4, "<syslog> mx postfix/smtpd[<pid>]: connect from mail.example.org[<ip>]"),
        (4, "<syslog> mx postfix/smtpd[<pid>]: <queue>: client=mail.example.org[<ip>]"),
        (4, "<syslog> mx postfix/cleanup[<pid>]: <queue>: message-id=<<number>.<pid>@example.org>"),
        (4, "<syslog> mx postfix/qmgr[700]: <queue>: from=<someone@example.org>, size=<bytes>, nrcpt=1 (queue active)"),
        (4, "<syslog> mx postfix/lmtp[<pid>]: <queue>: to=<kim@site.example>, relay=mail.site.example[private/dovecot-lmtp], delay=0.3, delays=0.2/0/0/0.1, dsn=2.0.0, status=sent (250 2.0.0 Saved)"),
        (4, "<syslog> mx postfix/qmgr[700]: <queue>: removed"),
        (4, "<syslog> mx postfix/smtpd[<pid>]: disconnect from mail.example.org[<ip>] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"),
    ), (
        (2, "<syslog> mx postfix/smtpd[<pid>]: connect from unknown[<ip>]"),
        (3, "<syslog> mx postfix/smtpd[<pid>]: warning: unknown[<ip>]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=<user>"),
        (2, "<syslog> mx postfix/smtpd[<pid>]: NOQUEUE: reject: RCPT from unknown[<ip>]: 454 4.7.1 <someone@elsewhere.example>: Relay access denied; from=<a@b.example> to=<someone@elsewhere.example> proto=ESMTP helo=<client.example>"),
        (2, "<syslog> mx postfix/smtpd[<pid>]: NOQUEUE: reject: RCPT from unknown[<ip>]: 550 5.1.1 <nobody@site.example>: Recipient address rejected: User unknown in local recipient table; from=<a@b.example> to=<nobody@site.example> proto=ESMTP helo=<client.example>"),
        (2, "<syslog> mx postfix/smtpd[<pid>]: disconnect from unknown[<ip>] ehlo=1 auth=0/1 quit=1 commands=2/3"),
    )),
    Service("dovecot", "syslog", "crowdsecurity/dovecot", (
        (4, "<syslog> mx dovecot: imap-login: Login: user=<kim>, method=PLAIN, rip=<ip>, lip=192.0.2.2, mpid=<pid>, TLS, session=<QCHpYHth<number>>"),
        (4, "<syslog> mx dovecot: imap(kim)<<pid>><QCHpYHth<number>>: Disconnected: Logged out in=41 out=<bytes> deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0"),
        (2, "<syslog> mx dovecot: lmtp(kim)<<pid>><QCHpYHth<number>>: msgid=<<number>@example.org>: saved mail to INBOX"),
    ), (
        (1, "<syslog> mx dovecot: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<<user>>, method=PLAIN, rip=<ip>, lip=192.0.2.2, session=<CwXkYHth<number>>"),
        (1, "<syslog> mx dovecot: auth: passwd-file(<user>,<ip>,<CwXkYHth<number>>): Password mismatch"),
    )),
    Service("exim", "exim", "crowdsecurity/exim", (
        (4, "<day> 1q<number>-000<pid>-2B <= someone@example.org H=mail.example.org [<ip>] P=esmtps X=TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256 CV=no S=<bytes> id=<number>@example.org"),
        (4, "<day> 1q<number>-000<pid>-2B => kim <kim@site.example> R=local T=maildir"),
        (4, "<day> 1q<number>-000<pid>-2B Completed"),
        (1, "<day> Start queue run: pid=<pid>"),
    ), (
        (3, "<day> dovecot_login authenticator failed for (client.example) [<ip>]: 535 Incorrect authentication data (set_id=<user>)"),
        (2, "<day> H=(client.example) [<ip>] F=<a@b.example> rejected RCPT <someone@elsewhere.example>: relay not permitted"),
        (2, "<day> H=(client.example) [<ip>] F=<a@b.example> rejected RCPT <nobody@site.example>: Unrouteable address"),
    )),
    Service("vsftpd", "vsftpd", "crowdsecurity/vsftpd", (
        (3, '<ctime> [pid <pid>] CONNECT: Client "<ip>"'),
        (3, '<ctime> [pid <pid>] [kim] OK LOGIN: Client "<ip>"'),
        (6, '<ctime> [pid <pid>] [kim] OK DOWNLOAD: Client "<ip>", "/files/archive-<number>.tar", <bytes> bytes, 118.52Kbyte/sec'),
    ), (
        (1, '<ctime> [pid <pid>] CONNECT: Client "<ip>"'),
        (2, '<ctime> [pid <pid>] [<user>] FAIL LOGIN: Client "<ip>"'),
    )),
    Service("proftpd", "syslog", "crowdsecurity/proftpd", (
        (3, "<syslog> files proftpd[<pid>]: 192.0.2.1 (<ip>[<ip>]) - FTP session opened."),
        (3, "<syslog> files proftpd[<pid>]: 192.0.2.1 (<ip>[<ip>]) - USER kim: Login successful."),
        (3, "<syslog> files proftpd[<pid>]: 192.0.2.1 (<ip>[<ip>]) - FTP session closed."),
    ), (
        (2, "<syslog> files proftpd[<pid>]: 192.0.2.1 (<ip>[<ip>]) - USER kim (Login failed): Incorrect password"),
        (2, "<syslog> files proftpd[<pid>]: 192.0.2.1 (<ip>[<ip>]) - USER <user>: no such user found from <ip> [<ip>] to 192.0.2.1:21"),
    ), "proftpd"),
]


def moments(at):
    """How services write a time."""
    parts = time.gmtime(at)
    second = {name: time.strftime(form, parts) for name, form in (
        ("syslog", "%b %e %H:%M:%S"), ("clf", "%d/%b/%Y:%H:%M:%S +0000"), ("clf_ms", "%d/%b/%Y:%H:%M:%S.620"), ("iso", "%Y-%m-%dT%H:%M:%S.510348418Z"),
        ("ctime", "%a %b %e %H:%M:%S %Y"), ("ctime_us", "%a %b %d %H:%M:%S.510348 %Y"), ("day", "%Y-%m-%d %H:%M:%S"))}
    return second | {"unix": f"{at}.6866148"}


def write(service, lines, path):
    """Writes a log, in the order of its times."""
    chance = random.Random(SEED)
    visitors = [f"198.{18 + number // 65_536}.{number // 256 % 256}.{number % 256}" for number in range(VISITORS)]
    attackers = [f"203.0.113.{number}" for number in range(1, ATTACKERS + 1)]
    innocent = [line for weight, line in service.innocent for _ in range(weight)]
    hostile = [line for weight, line in service.hostile for _ in range(weight)]
    place = re.compile("<(ip|port|pid|number|bytes|queue|user|page|probe|agent|syslog|clf|clf_ms|iso|ctime|ctime_us|day|unix)>")
    with open(path, "w") as log:
        for number in range(lines):
            if number % LINES_PER_SECOND == 0:
                moment = moments(BEGIN + number // LINES_PER_SECOND)
            attack = chance.random() < ATTACKS
            fields = moment | {"ip": attackers[number // TURN % ATTACKERS] if attack else chance.choice(visitors), "port": str(chance.randrange(30_000, 60_000)), "pid": str(chance.randrange(1_000, 9_999)),
                               "number": str(number), "bytes": str(chance.randrange(200, 90_000)), "queue": f"{chance.randrange(1 << 44):011X}", "user": chance.choice(USERS),
                               "page": chance.choice(PAGES), "probe": chance.choice(PROBES), "agent": chance.choice(AGENTS)}
            line = chance.choice(hostile if attack else innocent)
            log.write(place.sub(lambda found: fields[found[1]], line) + "\n")
