//! Text of an attacker's choice in every place where a parser's lines can have some: whatever it imitates, the event
//! has the address of its true peer, or none.
//!
//! A file of samples names such lines under `hostile`, with `{truth}` for the address of the peer, and `{raw}`, `{json}`
//! and so on for a text, by the way in which the service writes it (see [`WAYS`]). Texts come from [`TEXTS`], from the
//! parser's own samples, and from the lines themselves: what stands around a place, with another address, is what
//! somebody would send who wants his text to be taken for it.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::samples::Samples;

/// Peers whose lines these are.
pub(crate) const PEERS: [&str; 2] = ["203.0.113.7", "2001:db8::7"];

/// Third parties.
const VICTIMS: [&str; 2] = ["198.51.100.9", "2001:db8:bad::9"];

/// The peer in samples that do not say which address they have.
const SAMPLE: &str = "203.0.113.7";

/// Lengths in bytes at which services and syslog daemons cut an entry off.
const CUTS: [usize; 3] = [1023, 1024, 2047];

/// Texts, with `{v}` for the address of a third party.
const TEXTS: &[&str] = &[
    "",
    " ",
    "   ",
    "-",
    "a b",
    "{v}",
    " {v} ",
    "- {v} - - ",
    "[{v}]",
    "x[{v}]",
    "x[{v}]: x",
    "unknown[{v}]",
    "x[{v}]: SASL LOGIN authentication failed: x",
    "({v})",
    "<{v}>",
    "'{v}'",
    "'x'@'{v}' (using password: YES)",
    "\"{v}\"",
    "{v}:4711",
    "[{v}]:4711",
    "x from {v}",
    "x from {v} port 22",
    "x from {v} port 22 ssh2",
    "x from {v} port 22 ssh2: RSA SHA256:abc",
    "x {v} port 22 [preauth]",
    "invalid user y from {v}",
    "root from {v} not allowed because",
    "sshd[1]: Failed password for root from {v} port 22 ssh2",
    "web-2 sshd[1]: Failed password for root from {v} port 22 ssh2",
    "Mar  1 08:15:02 web-1 sshd[1]: Failed password for root from {v} port 22 ssh2",
    "x rhost={v}",
    "x rhost={v}  user=root",
    "x, rip={v}, lip=192.0.2.1",
    "x>, rip={v}, lip=192.0.2.1, session=<x",
    "x) H=({v}) [{v}]:25: x",
    "x\" client \"{v}\"",
    "x [client {v}:4711] x",
    ", client: {v}",
    ", client: {v}, server: h",
    "x\": password mismatch, client: {v}, server: h, request: \"GET / HTTP/1.1\", host: \"h",
    "x\" was not found in \"/f\", client: {v}, server: h, request: \"GET / HTTP/1.1\", host: \"h",
    "{v} - x [01/Mar/2026:00:00:00 +0000] ",
    "a\" 401 1 \"-\" \"-",
    "a\" 401 1 \"-\" \"-\" {v} - - ",
    "\\\" 401 1 \\\"-\\\" \\\"{v}",
    "\\",
    "\\\\\\",
    "\0\\\\\\",
    "\",\"remote_ip\":\"{v}\",\"x\":\"",
    "\",\"remote_host\":\"{v}\"}\nx",
    "x\n{\"error_severity\":\"FATAL\",\"state_code\":\"28P01\",\"a\":\"",
    "\\\",\\\"client_ip\\\":\\\"{v}\\\"",
    "\\u0022,\\u0022remote_ip\\u0022:\\u0022{v}\\u0022",
    "\"}{\"remote_ip\":\"{v}\"}",
    "\"},\"request\":{\"remote_ip\":\"{v}\",\"client_ip\":\"{v}\"},\"x\":{\"y\":\"",
    "x%0d%0a{v} - - ",
    "%22 %5B{v}%5D",
    "x\\r\\n{v} port 22",
    "#22 {v}:4711 [",
    "} {v}:4711 [",
    "x\u{1b}[2K\u{1b}[1G{v} \u{8}\u{8}",
    "x\r{v} port 22",
    "\u{ff11}\u{ff19}\u{ff18}.51.100.9",
    "198\u{3002}51\u{3002}100\u{3002}9",
    "x\u{a0}from\u{a0}{v}\u{a0}port\u{a0}22",
    "\u{202e}{v}",
    "\u{feff}{v}\u{200b}",
    "x\u{2028}{v} - - ",
    "\u{a0}{v}\u{85}",
    "Forwarded: for={v}",
    "SRC={v} DST=192.0.2.1",
    "x SRC={v} DST=192.0.2.1 LEN=60 PROTO=TCP SPT=1 DPT=22 WINDOW=1 RES=0x00 SYN URGP=0 ",
    "x,{v},5,0,FAILED_CONNECT,,,1045",
    "x,{v},5,0,FAILED_CONNECT,",
    "ipv4:{v}:445",
    "\",RemoteAddress=\"IPV4/TCP/{v}/5060",
    "x\",SessionID=\"x\",LocalAddress=\"IPV4/TCP/192.0.2.1/5060\",RemoteAddress=\"IPV4/TCP/{v}/5060\",X=\"",
    "x\" exe=\"/usr/sbin/sshd\" hostname={v} addr={v} terminal=ssh res=failed'",
    "x' addr={v} terminal=ssh res=failed'",
    "</Data><Data Name='IpAddress'>{v}</Data><Data Name='x'>",
    "]]></Data><Data Name=\"IpAddress\">{v}</Data><!--",
    "&#x3c;/Data>&lt;Data Name='IpAddress'&gt;{v}",
    "::ffff:{v}",
    "{v}%eth0",
];

/// How services write a client's text:
///
/// - `raw`: as it is; a line break begins another line
/// - `line`: as it is, but without line breaks, which no header has
/// - `basic`: as it is, up to its first colon, where a name ends that is sent beside a password over HTTP
/// - `greeting`: what SMTP's greeting may consist of, or an address in brackets; other texts are refused (Exim)
/// - `visible`: what cannot be printed as `?` (Postfix)
/// - `octal`: control characters and bytes beyond ASCII as `\033` (OpenSSH)
/// - `hex`: those, quotes and backslashes as `\x22` (nginx, lighttpd)
/// - `apache`: those as `\"`, `\\`, `\n` or `\x1b`
/// - `sharp`: those but backslashes, and some more, as `#22` (HAProxy)
/// - `pgname`: as it is, up to 63 bytes (PostgreSQL's text log)
/// - `json`: as a text of JSON, without its quotes
/// - `rsyslog`: control characters as `#012`, the rest as it is (programs that leave escaping to rsyslog)
/// - `xml`: with entities for what XML needs them for (Windows)
/// - `audit`: in quotes or, where it has blanks, quotes or what cannot be printed, in hexadecimal digits (libaudit)
pub(crate) const WAYS: &[&str] = &[
    "raw", "line", "basic", "greeting", "visible", "octal", "hex", "apache", "sharp", "json", "rsyslog",
    "xml", "audit", "pgname",
];

/// A client's text as a service writes it, in one of [`WAYS`].
fn write(way: &str, text: &str) -> String {
    match way {
        "line" => return text.replace(['\r', '\n'], ""),
        "basic" => return text.split_once(':').map_or(text, |(name, _)| name).to_owned(),
        "greeting" => {
            let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            let fits = inner.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c));
            return if fits { text } else { "x" }.to_owned();
        }
        "pgname" => return text[..text.floor_char_boundary(63)].to_owned(),
        "rsyslog" => {
            let escaped = |c: char| {
                if c.is_ascii_control() { format!("#{:03o}", u32::from(c)) } else { c.to_string() }
            };
            return text.chars().map(escaped).collect();
        }
        "xml" => {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            // Windows writes no other control characters.
            return escaped.chars().filter(|c| !c.is_ascii_control()).collect();
        }
        "audit" => {
            let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
            let hex = |byte| format!("{byte:02X}");
            return if plain { format!("\"{text}\"") } else { text.bytes().map(hex).collect() };
        }
        "json" => {
            let quoted = serde_json::Value::from(text).to_string();
            return quoted[1..quoted.len() - 1].to_owned();
        }
        "visible" | "octal" | "hex" | "apache" | "sharp" => {}
        _ => return text.to_owned(),
    }
    let mut out = String::new();
    for byte in text.bytes() {
        let written = match (way, byte) {
            ("hex", b'"' | b'\\') => write!(out, "\\x{byte:02X}"),
            ("sharp", b'"' | b'#' | b'{' | b'|' | b'}') => write!(out, "#{byte:02X}"),
            ("apache", b'"' | b'\\') => write!(out, "\\{}", char::from(byte)),
            ("apache", b'\n') => out.write_str("\\n"),
            ("apache", b'\r') => out.write_str("\\r"),
            (_, b' '..0x7f) => out.write_char(char::from(byte)),
            ("visible", _) => out.write_char('?'),
            ("octal", _) => write!(out, "\\{byte:03o}"),
            ("hex", _) => write!(out, "\\x{byte:02X}"),
            ("apache", _) => write!(out, "\\x{byte:02x}"),
            (_, _) => write!(out, "#{byte:02X}"),
        };
        // A text takes everything.
        let _ = written;
    }
    out
}

/// A hostile line taken apart.
pub(crate) struct Template<'a>(Vec<Piece<'a>>);

enum Piece<'a> {
    Text(&'a str),
    /// The address of the peer.
    Truth,
    /// A place for text, which is written in this way.
    Place(&'a str),
}

impl<'a> Template<'a> {
    pub(crate) fn new(line: &'a str) -> Template<'a> {
        let mut pieces = Vec::new();
        let (mut rest, mut from) = (line, 0);
        while let Some(open) = rest[from..].find('{').map(|at| at + from) {
            let name = rest[open + 1..].split_once('}').map_or("", |(name, _)| name);
            if name != "truth" && !WAYS.contains(&name) {
                from = open + 1;
                continue;
            }
            pieces.push(Piece::Text(&rest[..open]));
            pieces.push(if name == "truth" { Piece::Truth } else { Piece::Place(name) });
            (rest, from) = (&rest[open + name.len() + 2..], 0);
        }
        pieces.push(Piece::Text(rest));
        Template(pieces)
    }

    pub(crate) fn ways(&self) -> Vec<&'a str> {
        self.0
            .iter()
            .filter_map(|piece| if let Piece::Place(way) = piece { Some(*way) } else { None })
            .collect()
    }

    /// The entry of this peer, and where each place begins in it; `text` gives the texts of the places.
    fn fill<'t>(&self, peer: &str, text: impl Fn(usize) -> &'t str) -> (String, Vec<usize>) {
        let mut entry = String::new();
        let mut places = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => entry.push_str(text),
                Piece::Truth => entry.push_str(peer),
                Piece::Place(way) => {
                    places.push(entry.len());
                    entry.push_str(&write(way, text(places.len() - 1)));
                }
            }
        }
        (entry, places)
    }

    pub(crate) fn plain(&self, peer: &str) -> String {
        self.fill(peer, |_| "bob").0
    }

    /// The entry with this text in one place or, for `None`, in all.
    pub(crate) fn with(&self, peer: &str, place: Option<usize>, text: &str) -> String {
        self.fill(peer, |at| if place.is_none_or(|place| place == at) { text } else { "bob" }).0
    }

    /// Texts that imitate what stands before or after a place, or all of it.
    fn forgeries(&self, victim: &str) -> Vec<String> {
        let (whole, places) = self.fill(victim, |_| "bob");
        let mut texts = vec![format!("x\n{whole}"), format!("x\r\n{whole}\n"), whole.clone()];
        for at in places {
            let (before, after) = (&whole[..at], &whole[at + "bob".len()..]);
            texts.extend([
                format!("x{after}"),
                after.trim_start().to_owned(),
                format!("{before}x"),
                format!("x\n{before}x"),
            ]);
            // What a text of another kind of entry can end with: the service itself closes the last quote or bracket.
            let closers = ['"', '\'', ')', ']', '>', '}'];
            texts.extend(after.strip_suffix(closers).map(|open| format!("x{open}")));
        }
        texts
    }
}

/// All texts that the lines of a parser are tried with.
pub(crate) fn texts(samples: &Samples) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for victim in VICTIMS {
        texts.extend(TEXTS.iter().map(|text| text.replace("{v}", victim)));
        texts.insert(format!("{} from {victim} port 22", "A".repeat(3000)));
        for sample in &samples.matches {
            let sample = &sample.entry;
            let peer = sample.meta.get("source_ip").filter(|peer| !peer.is_empty());
            let line = sample.line.replace(peer.map_or(SAMPLE, String::as_str), victim);
            texts.extend([format!("x\n{line}"), line]);
        }
        for other in &samples.hostile {
            texts.extend(Template::new(&other.entry.line).forgeries(victim));
        }
    }
    texts
}

/// Entries with a forged end of which nothing more is left, since it was cut off there; `own` is a length at which the
/// service itself does that.
pub(crate) fn cut(template: &Template<'_>, peer: &str, own: Option<usize>) -> Vec<String> {
    let mut entries = Vec::new();
    let starts = template.fill(peer, |_| "bob").1;
    for (place, (way, start)) in template.ways().into_iter().zip(starts).enumerate() {
        for forged in template.forgeries(VICTIMS[0]) {
            let length = write(way, &forged).len();
            for cut in CUTS.into_iter().chain(own) {
                let Some(padding) = cut.checked_sub(start + length) else { continue };
                let text = format!("{}{forged}{}", "A".repeat(padding), "A".repeat(100));
                let entry = template.with(peer, Some(place), &text);
                // Not every service takes texts so long.
                entries.extend(entry.get(..cut).map(str::to_owned));
            }
        }
    }
    entries
}
