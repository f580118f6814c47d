"""The web servers of `bench/gate/run`: each with the gate's printed configuration and without it, else the same.

Those that can serve a small file do so; the others have a backend, whose time is not counted. Each has one worker where that
is a setting, no log of requests, and connections that stay open.
"""

import os
import shutil
import textwrap

PAGE = "It works.\n"


class Servers:
    """Makes configurations in a folder and starts what reads them. `start(*command)` gives a process."""

    def __init__(self, folder, snippet, envoy_pieces, start, free_port, backend):
        self.folder, self.snippet, self.envoy_pieces = folder, snippet, envoy_pieces
        self.start, self.free_port, self.backend = start, free_port, backend
        (folder / "html").mkdir(exist_ok=True)
        (folder / "html/index.html").write_text(PAGE)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def nginx(self, gated, port=None):
        port = port or self.free_port()
        upstream, _, server = self.snippet("nginx").partition("# Part 2")
        name = f"nginx-{port}"
        path = self.write(
            f"{name}/nginx.conf",
            f"""
daemon off; pid {self.folder}/{name}/pid; worker_processes 1;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 512; }}
http {{
access_log off; keepalive_requests 100000000;
client_body_temp_path {self.folder}/{name}/b; proxy_temp_path {self.folder}/{name}/p; fastcgi_temp_path {self.folder}/{name}/f;
uwsgi_temp_path {self.folder}/{name}/u; scgi_temp_path {self.folder}/{name}/s;
{upstream if gated else ""}
server {{
listen 127.0.0.1:{port};
root {self.folder}/html;
{"# Part 2" + server if gated else ""}
}} }}
""",
        )
        return self.start("nginx", "-c", path, "-e", self.folder / name / "error.log"), port

    def caddy(self, gated):
        port = self.free_port()
        path = self.write(
            f"caddy-{port}/Caddyfile",
            f"""{{
	admin off
	auto_https off
	storage file_system {self.folder}/caddy-{port}/storage
}}
{self.snippet("caddy") if gated else ""}
http://:{port} {{
	bind 127.0.0.1
	{"import testudo_gate" if gated else ""}
	root * {self.folder}/html
	file_server
}}
""",
        )
        return self.start("caddy", "run", "--config", path, env={**os.environ, "HOME": str(self.folder)}), port

    def haproxy(self, gated):
        port = self.free_port()
        _, _, files = self.snippet("haproxy").partition("# File 1")
        spoe, _, rest = files.partition("# File 2")
        frontend, _, backends = rest.partition("# And these once.")
        agent = self.write(f"haproxy-{port}/testudo-gate.spoe", f"# File 1{spoe}")
        frontend = frontend.replace("config testudo-gate.spoe", f"config {agent}")
        path = self.write(
            f"haproxy-{port}/haproxy.cfg",
            f"""
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend site
    bind 127.0.0.1:{port}
    {"# File 2" + frontend if gated else ""}
    default_backend site
{"# And these once." + backends if gated else ""}
backend site
    server site 127.0.0.1:{self.backend}
""",
        )
        return self.start("haproxy", "-db", "-f", path), port

    def apache(self, gated):
        port = self.free_port()
        places = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules"]
        modules = next((place for place in places if os.path.isdir(place)), "modules")
        names = "mpm_event authn_core authz_core authz_user authnz_fcgi proxy proxy_http headers env dir mime unixd".split()
        loads = [f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names if os.path.exists(f"{modules}/mod_{name}.so")]
        path = self.write(
            f"apache-{port}/apache.conf",
            "\n".join(loads)
            + f"""
ServerRoot {self.folder}/apache-{port}
ServerName localhost
PidFile {self.folder}/apache-{port}/pid
DefaultRuntimeDir {self.folder}/apache-{port}
ErrorLog {self.folder}/apache-{port}/error.log
TypesConfig /dev/null
Listen 127.0.0.1:{port}
StartServers 1
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
MaxKeepAliveRequests 0
DocumentRoot {self.folder}/html
DirectoryIndex index.html
{"User www-data" if os.geteuid() == 0 else ""}
{"Group www-data" if os.geteuid() == 0 else ""}
{self.snippet("apache") if gated else ""}
""",
        )
        return self.start("apache2", "-DFOREGROUND", "-f", path), port

    def lighttpd(self, gated):
        port = self.free_port()
        path = self.write(
            f"lighttpd-{port}/lighttpd.conf",
            f"""
server.modules = ( "mod_setenv", "mod_fastcgi", "mod_proxy" )
server.document-root = "{self.folder}/html"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{self.folder}/lighttpd-{port}/error.log"
server.max-keep-alive-requests = 65535
index-file.names = ( "index.html" )
{self.snippet("lighttpd") if gated else ""}
""",
        )
        return self.start("lighttpd", "-D", "-f", path), port

    def varnish(self, gated):
        port = self.free_port()
        gate = self.write(f"varnish-{port}/testudo-gate.vcl", self.snippet("varnish"))
        path = self.write(
            f"varnish-{port}/site.vcl",
            f"""vcl 4.1;
backend site {{ .host = "127.0.0.1"; .port = "{self.backend}"; }}
{f'include "{gate}";' if gated else ""}
sub vcl_recv {{ set req.backend_hint = site; return (pass); }}
""",
        )
        state = self.folder / f"varnish-{port}/state"
        return self.start("varnishd", "-F", "-n", state, "-a", f"127.0.0.1:{port}", "-f", path, "-s", "malloc,16m", "-j", "none"), port

    def traefik(self, gated, middleware="testudo-gate"):
        port = self.free_port()
        folder = f"traefik-{port}"
        used = f"middlewares: [{middleware}], " if gated else ""
        if gated:
            self.write(f"{folder}/dynamic/testudo.yaml", self.snippet("traefik"))
        self.write(
            f"{folder}/dynamic/site.yaml",
            f"""
http:
  routers:
    site: {{rule: "PathPrefix(`/`)", {used}service: site}}
  services:
    site: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{self.backend}"}}]}}}}
""",
        )
        path = self.write(
            f"{folder}/traefik.yaml",
            f"""
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
entryPoints: {{site: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{directory: {self.folder}/{folder}/dynamic, watch: false}}}}
""",
        )
        return self.start("traefik", f"--configFile={path}"), port

    def traefik_forms(self, gated):
        return self.traefik(gated, "testudo-gate-forms")

    def envoy(self, gated, flavour="envoy"):
        port = self.free_port()
        pieces = self.envoy_pieces(self.snippet(flavour) if gated else "")
        inside = lambda name, depth: textwrap.indent(pieces[name], " " * depth)
        router = 'name: envoy.filters.http.router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}'
        place = f"{{address: {{socket_address: {{address: 127.0.0.1, port_value: {self.backend}}}}}}}"
        path = self.write(
            f"envoy-{port}/envoy.yaml",
            f"""
static_resources:
  listeners:
    - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: site
{inside("common_http_protocol_options", 16)}
                http_filters:
{inside("http_filters", 18)}
                  - {{{router}}}
                route_config:
                  virtual_hosts:
                    - name: site
                      domains: ["*"]
                      routes:
{inside("routes", 24)}
                        - {{match: {{prefix: /}}, route: {{cluster: site}}}}
  clusters:
{inside("clusters", 4)}
    - name: site
      connect_timeout: 5s
      load_assignment: {{cluster_name: site, endpoints: [{{lb_endpoints: [{{endpoint: {place}}}]}}]}}
""",
        )
        return self.start("envoy", "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "-l", "error"), port

    def envoy_http(self, gated):
        return self.envoy(gated, "envoy-http")


#: What is measured: its name, how it asks, the program, the way to start it.
MEASURED = [
    ("nginx", "`auth_request`", "nginx", Servers.nginx),
    ("Caddy", "`reverse_proxy` of the question", "caddy", Servers.caddy),
    ("HAProxy", "SPOE", "haproxy", Servers.haproxy),
    ("Apache", "FastCGI", "apache2", Servers.apache),
    ("lighttpd", "FastCGI", "lighttpd", Servers.lighttpd),
    ("Varnish", "the question, then the request again", "varnishd", Servers.varnish),
    ("Traefik", "`forwardAuth`", "traefik", Servers.traefik),
    ("Traefik", "`forwardAuth` with bodies", "traefik", Servers.traefik_forms),
    ("Envoy", "`ext_authz`, gRPC", "envoy", Servers.envoy),
    ("Envoy", "`ext_authz`, HTTP", "envoy", Servers.envoy_http),
]


def is_installed(program):
    """Whether it is installed."""
    return shutil.which(program) is not None
