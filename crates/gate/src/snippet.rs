//! Configurations of web servers, ready to be put into theirs.

use std::{fmt, path::PathBuf};

/// The port where a place names none.
const DEFAULT_PORT: &str = "9740";

/// A web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebServer {
    /// nginx from 1.13 on, with `auth_request`.
    Nginx,
    /// Caddy from 2.6 on.
    Caddy,
    /// Traefik, with `ForwardAuth`.
    Traefik,
    /// Varnish from 6 on.
    Varnish,
    /// Apache from 2.4 on, with `mod_authnz_fcgi`.
    Apache,
    /// lighttpd from 1.4.46 on.
    Lighttpd,
    /// HAProxy from 2.2 to 3.0, with its stream processing.
    Haproxy,
    /// Envoy, with external authorization over gRPC.
    Envoy,
    /// Envoy, with external authorization over HTTP.
    EnvoyHttp,
}

impl WebServer {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Nginx,
        Self::Caddy,
        Self::Traefik,
        Self::Varnish,
        Self::Apache,
        Self::Lighttpd,
        Self::Haproxy,
        Self::Envoy,
        Self::EnvoyHttp,
    ];

    /// The name by which it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Varnish => "varnish",
            Self::Apache => "apache",
            Self::Lighttpd => "lighttpd",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::EnvoyHttp => "envoy-http",
        }
    }

    /// A web server by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.name() == name)
    }
}

/// Where the web server finds the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an address or name with a port, such as `127.0.0.1:9740`.
    Tcp(String),
    /// At a socket in the file system.
    Unix(PathBuf),
}

impl Place {
    /// As the web server writes it.
    fn written(&self, server: WebServer) -> impl fmt::Display {
        match (self, server) {
            (Self::Tcp(place), _) => place.clone(),
            (Self::Unix(path), WebServer::Nginx) => format!("unix:{}", path.display()),
            (Self::Unix(path), WebServer::Caddy) => format!("unix/{}", path.display()),
            // They speak to addresses only.
            (Self::Unix(_), _) => "127.0.0.1:9740".to_owned(),
        }
    }
}

/// The configuration of a web server for a gate at `place`, with comments that say what goes where. Apache and lighttpd ask
/// in FastCGI at the next higher port, HAProxy at the one after that, Envoy in gRPC at the third.
pub fn snippet(server: WebServer, place: &Place) -> String {
    let template = match server {
        WebServer::Nginx => include_str!("snippet/nginx.conf"),
        WebServer::Caddy => include_str!("snippet/Caddyfile"),
        WebServer::Traefik => include_str!("snippet/traefik.yaml"),
        WebServer::Varnish => include_str!("snippet/varnish.vcl"),
        WebServer::Apache => include_str!("snippet/apache.conf"),
        WebServer::Lighttpd => include_str!("snippet/lighttpd.conf"),
        WebServer::Haproxy => include_str!("snippet/haproxy.cfg"),
        WebServer::Envoy => include_str!("snippet/envoy.yaml"),
        WebServer::EnvoyHttp => include_str!("snippet/envoy-http.yaml"),
    };
    let place = place.written(server).to_string();
    let (host, port) = place.rsplit_once(':').unwrap_or((&place, DEFAULT_PORT));
    let host = host.trim_matches(['[', ']']);
    // Beside the port for HTTP there is the next one for FastCGI, the one after that for HAProxy, and a third for gRPC.
    let after = |count| {
        port.parse::<u16>().map_or_else(|_| port.to_owned(), |port| port.saturating_add(count).to_string())
    };
    let template =
        template.replace("@FASTCGI@", &after(1)).replace("@SPOE@", &after(2)).replace("@GRPC@", &after(3));
    template.replace("@GATE@", &place).replace("@HOST@", host).replace("@PORT@", port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_put_in() {
        for server in WebServer::ALL {
            assert_eq!(WebServer::from_name(server.name()), Some(server));
            let text = snippet(server, &Place::Tcp("gate.internal:8081".to_owned()));
            assert!(text.contains("gate.internal") && text.contains("808"), "{text}");
            assert!(
                !["@GATE@", "@HOST@", "@PORT@", "@FASTCGI@", "@SPOE@", "@GRPC@"]
                    .iter()
                    .any(|part| text.contains(part)),
                "{text}"
            );
        }
        let socket = Place::Unix("/run/testudo/gate.sock".into());
        assert!(snippet(WebServer::Nginx, &socket).contains("server unix:/run/testudo/gate.sock;"));
        assert!(snippet(WebServer::Caddy, &socket).contains("unix//run/testudo/gate.sock"));
    }
}
