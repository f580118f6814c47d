"""Attacks on web servers: probing, exploits, tools, crawling, guessed passwords, and text that looks like a log."""

import os
import pwd
import shutil
import urllib.parse

from stage import PASSWORD, TO_MACHINE, USER, Failed, Part, curl, enclosed, find, sh, tell

PORT = 8088
SCANS = {"testudo/http-probing", "testudo/http-sensitive-files", "testudo/http-path-traversal", "testudo/http-sql-injection",
         "testudo/http-script-injection", "testudo/http-crawl"}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

ATTACKS = [*(f"/no-such-page-{number}.php" for number in range(250)),
           "/.env", "/.git/config", "/backup.zip", "/wp-config.php~",
           "/../../etc/passwd", "/static/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/a/..%5c..%5cwindows/win.ini",
           *(f"/download?file={'../' * depth}etc/passwd" for depth in (2, 3, 4)),
           "/?id=1%27+or+%271%27=%271", "/?id=1+union+select+1,2,3", "/?id=1;waitfor+delay+%270:0:5%27", "/?id=sleep(5)&x=(sleep(5))",
           "/?q=<script>alert(1)</script>", "/?q=%3Cscript%3Ealert(2)%3C/script%3E", "/?q=%22><svg/onload=alert(3)>", "/?q=<iframe%20src=x>"]


class Site(Part):
    """What all web servers have in common: a first page, and `/private/` for who knows the password."""

    passwords = True
    agents = True
    slip = "testudo/http-auth-bruteforce"
    logs = [["access.log"]]
    samples = ["nginx", "apache"]

    @property
    def expected(self):
        return SCANS | ({"testudo/http-auth-bruteforce"} if self.passwords else set()) | ({"testudo/http-bad-user-agent"} if self.agents else set())

    def pages(self):
        for name in ("index.html", "private/index.html", "about.html"):
            self.write(f"html/{name}", "<h1>the site</h1>\n")

    def attack(self, source, victim):
        site = f"http://{enclosed(TO_MACHINE[source])}:{PORT}"
        tool = {"user-agent": "sqlmap/1.7 (https://sqlmap.org)"}
        requests = [{"url": f"{site}{path}", "path-as-is": True, "user-agent": BROWSER} for path in ATTACKS]
        requests += [{"url": f"{site}/", **tool}] * 3
        # Caddy takes a second for the first password of somebody unknown, and remembers it.
        curl(*requests, {"url": f"{site}/private/", "user": "admin:wrong", "user-agent": BROWSER})
        # At once: lighttpd waits for a second after a wrong password.
        guesses = [f"{USER}:wrong{number}" for number in range(12)] + [f"admin{number}:wrong" for number in range(12)]
        curl(*({"url": f"{site}/private/", "user": guess, "user-agent": BROWSER} for guess in guesses), at_once=24)
        curl(*self.injections(site, victim), at_once=24)
        # What is no HTTP at all, or says that it comes from elsewhere.
        request = "GET /no-such-page.php HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        lines = [f"PROXY TCP4 {victim} 192.0.2.1 1 {PORT}", f"GET http://{enclosed(victim)}/ HTTP/1.1", f"GET / {victim}"]
        tell(TO_MACHINE[source], PORT, *(f"{text}\r\n\r\n".encode() for text in self.texts(victim, most=40)), *(f"{line}\r\n{request}".encode() for line in lines))

    def injections(self, site, victim):
        for text in self.texts(victim, most=80):
            yield {"url": f"{site}/private/", "user": f"{text.replace(':', ';')}:wrong", "user-agent": BROWSER}
            # A colon ends a name, but in an address of an old kind there is none.
            yield {"url": f"{site}/no-such-page.php?{urllib.parse.quote(text)}", "user-agent": BROWSER}
            # Error logs have paths after decoding.
            yield {"url": f"{site}/x{urllib.parse.quote(text, safe='')}x", "user-agent": BROWSER}
            one = text.replace("\r", " ").replace("\n", " ")
            yield {"url": f"{site}/no-such-page.php", "user-agent": f"sqlmap {one}", "referer": one}
            yield {"url": f"{site}/no-such-page.php", "header": [f"Host: {one}"], "user-agent": BROWSER}
            yield {"url": f"{site}/", "request-target": f"/{one}", "user-agent": BROWSER}
            yield {"url": f"{site}/.env", "request": one, "user-agent": BROWSER}
        forwarded = [f"{name}: {value}" for name in ("X-Forwarded-For", "X-Real-IP", "Client-IP", "True-Client-IP", "CF-Connecting-IP")
                     for value in (victim, f"{victim}, {victim}")] + [f'Forwarded: for="{enclosed(victim)}"']
        for header in forwarded:
            yield {"url": f"{site}/.env", "header": [header], "user-agent": "sqlmap"}
            yield {"url": f"{site}/private/", "header": [header], "user": "root:wrong", "user-agent": BROWSER}

    def visit(self, source):
        site = f"http://{enclosed(TO_MACHINE[source])}:{PORT}"
        name = {"user-agent": BROWSER}
        wanted = [("/", "", "200"), ("/about.html", "", "200"), ("/not-there.html", "", "404")]
        if self.passwords:
            wanted += [("/private/", f"{USER}:wrong", "401"), ("/private/", f"{USER}:{PASSWORD}", "200")]
        codes = curl(*({"url": f"{site}{path}", **name} | ({"user": who} if who else {}) for path, who, _ in wanted))
        if codes != [code for _, _, code in wanted]:
            raise Failed(f"{source} was answered {codes}, not {[code for _, _, code in wanted]}")


class Nginx(Site):
    name = kind = "nginx"
    logs = [["access.log", "error.log"], ["access.json"]]
    samples = ["nginx", "http-json"]

    def prepare(self):
        self.nginx = find("nginx")
        self.pages()
        self.write("passwords", f"{USER}:{{PLAIN}}{PASSWORD}\n")
        folder = self.folder
        self.write("nginx.conf", f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/logs/error.log; worker_processes 1; user root;
events {{ worker_connections 128; }}
http {{
client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
log_format json escape=json '{{"time":"$time_iso8601","remote_addr":"$remote_addr","host":"$host","remote_user":"$remote_user","request_method":"$request_method",'
 '"request_uri":"$request_uri","status":$status,"http_user_agent":"$http_user_agent","http_referer":"$http_referer","http_x_forwarded_for":"$http_x_forwarded_for"}}';
access_log {folder}/logs/access.log combined;
access_log {folder}/logs/access.json json;
limit_req_zone $binary_remote_addr zone=all:1m rate=200r/s;
server {{
listen [::]:{PORT} ipv6only=off; server_name _; root {folder}/html;
location /private/ {{ auth_basic "x"; auth_basic_user_file {folder}/passwords; }}
location /no-such-page.php {{ limit_req zone=all burst=50 nodelay; }}
}} }}
""")

    def serve(self):
        self.start(self.nginx, "-c", self.folder / "nginx.conf", "-e", self.folder / "logs/error.log")
        self.wait(PORT)


class Apache(Site):
    name = "apache"
    kind = "apache2"
    logs = [["access.log", "error.log"], ["vhost.log", "error.log"]]

    def prepare(self):
        self.apache = find("apache2", "httpd")
        modules = next((path for path in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules") if os.path.isdir(path)), None)
        self.pages()
        self.write("passwords", f"{USER}:{sh('openssl', 'passwd', '-apr1', PASSWORD)}")
        names = ["mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "dir"]
        load = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names)
        folder = self.folder
        self.write("apache.conf", f"""
{load}
ServerRoot {folder}
ServerName site.example
PidFile {folder}/apache.pid
Mutex file:{folder}
Listen 0.0.0.0:{PORT}
Listen [::]:{PORT}
User www-data
Group www-data
DocumentRoot {folder}/html
DirectoryIndex index.html
ErrorLog {folder}/logs/error.log
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
LogFormat "%v:%p %h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" vhost_combined
CustomLog {folder}/logs/access.log combined
CustomLog {folder}/logs/vhost.log vhost_combined
<Location /private>
AuthType Basic
AuthName x
AuthUserFile {folder}/passwords
Require valid-user
</Location>
<Location /.env>
Require all denied
</Location>
""")

    def serve(self):
        self.start(self.apache, "-DFOREGROUND", "-f", self.folder / "apache.conf")
        self.wait(PORT)


class Lighttpd(Site):
    name = kind = "lighttpd"
    logs = [["access.log", "error.log"]]
    samples = ["lighttpd"]

    def prepare(self):
        self.lighttpd = find("lighttpd")
        self.pages()
        self.write("passwords", f"{USER}:{PASSWORD}\n")
        folder = self.folder
        self.write("lighttpd.conf", f"""
server.document-root = "{folder}/html"
server.port = {PORT}
server.bind = "[::]"
server.v4mapped = "enable"
server.modules = ("mod_auth", "mod_authn_file", "mod_accesslog")
index-file.names = ("index.html")
server.errorlog = "{folder}/logs/error.log"
accesslog.filename = "{folder}/logs/access.log"
auth.backend = "plain"
auth.backend.plain.userfile = "{folder}/passwords"
auth.require = ("/private" => ("method" => "basic", "realm" => "x", "require" => "valid-user"))
""")

    def serve(self):
        self.start(self.lighttpd, "-D", "-f", self.folder / "lighttpd.conf")
        self.wait(PORT)


class Caddy(Site):
    name = kind = "caddy"
    samples = ["caddy"]

    def prepare(self):
        self.caddy = find("caddy")
        self.pages()
        # Caddy's own hashes take a second each.
        hashed = sh(find("perl"), "-e", f"print crypt('{PASSWORD}', '$2b$04$' . 'a' x 22)")
        folder = self.folder
        self.write("Caddyfile", f"""{{
	admin off
	auto_https off
	storage file_system {folder}/caddy
}}
http://:{PORT} {{
	log {{
		output file {folder}/logs/access.log
	}}
	root * {folder}/html
	basicauth /private/* {{
		{USER} {hashed}
	}}
	file_server
}}
""")

    def serve(self):
        self.start(self.caddy, "run", "--config", "Caddyfile", env=os.environ | {"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)})
        self.wait(PORT)


class Haproxy(Site):
    name = "haproxy"
    logs = [["syslog"], ["syslog-iso"]]
    passwords = agents = False
    slip = "testudo/http-probing"
    samples = ["haproxy"]

    def prepare(self):
        self.haproxy = find("haproxy")
        find("rsyslogd")

    def serve(self):
        self.syslog()
        self.write("haproxy.cfg", f"""
global
    log /dev/log local0
defaults
    mode http
    log global
    timeout client 10s
    timeout server 10s
    timeout connect 5s
frontend web
    bind [::]:{PORT} v4v6
    option {{options}}
    capture request header User-Agent len 200
    capture request header Host len 200
    http-request return status 200 if {{ path / }} or {{ path /about.html }}
    http-request return status 404
""".replace("{options}", self.options).replace("{{", "{").replace("}}", "}"))
        self.start(self.haproxy, "-db", "-f", self.folder / "haproxy.cfg")
        self.wait(PORT)

    options = "httplog"


class HaproxyCommon(Haproxy):
    name = "haproxy-clf"
    options = "httplog clf"


class Traefik(Site):
    name = kind = "traefik"
    samples = ["traefik"]

    def prepare(self):
        self.traefik, self.nginx = find("traefik"), find("nginx")
        self.pages()
        folder = self.folder
        self.write("rules.yaml", f"""
http:
  routers:
    private: {{rule: "PathPrefix(`/private`)", service: site, middlewares: [password]}}
    all: {{rule: "PathPrefix(`/`)", service: site}}
  middlewares:
    password: {{basicAuth: {{users: ["{USER}:{sh('openssl', 'passwd', '-apr1', PASSWORD).strip()}"]}}}}
  services:
    site: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:8089"}}]}}}}
""")
        self.write("traefik.yaml", f"""
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
entryPoints: {{web: {{address: ":{PORT}"}}}}
providers: {{file: {{filename: {folder}/rules.yaml}}}}
accessLog:
  filePath: {folder}/logs/access.log
  format: json
  fields: {{headers: {{defaultMode: keep}}}}
""")
        self.write("site.conf", f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/site.out; worker_processes 1; user root;
events {{ worker_connections 128; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
server {{ listen 127.0.0.1:8089; root {folder}/html; }} }}
""")

    def serve(self):
        self.start(self.nginx, "-c", self.folder / "site.conf", "-e", self.folder / "site.out")
        self.start(self.traefik, f"--configFile={self.folder}/traefik.yaml")
        self.wait(PORT)
        # The port is open before the rules are read.
        for _ in range(200):
            if curl({"url": f"http://127.0.0.1:{PORT}/"}) == ["200"]:
                return
        raise Failed("the rules are not read")


PARTS = [Nginx, Apache, Lighttpd, Caddy, Haproxy, HaproxyCommon, Traefik]
