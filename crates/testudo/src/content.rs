//! Testudo's own rules, in the binary: what runs on a machine with nothing else on it.
//!
//! They are the files of `content/` at the root of the workspace, in the layout of every other
//! set of rules. Beside them, `content/samples` shows for each rule what it is for and what it
//! must not do; the tests of this file run those.

use std::sync::Arc;

use testudo_hub::embedded::EmbeddedFile;
use testudo_rules::{Diagnostic, SourceFile, load_parsers, load_postoverflows, load_scenarios, set::RuleSet};

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../content/", $path)))),*]
    };
}

/// Paths below `content/`, in running order, and texts.
const FILES: &[(&str, &str)] = files![
    "parsers/s00-raw/plain-nginx.yaml",
    "parsers/s00-raw/plain.yaml",
    "parsers/s00-raw/syslog.yaml",
    "parsers/s01-parse/apache.yaml",
    "parsers/s01-parse/asterisk.yaml",
    "parsers/s01-parse/auditd.yaml",
    "parsers/s01-parse/caddy.yaml",
    "parsers/s01-parse/dovecot.yaml",
    "parsers/s01-parse/exim.yaml",
    "parsers/s01-parse/haproxy.yaml",
    "parsers/s01-parse/http-json.yaml",
    "parsers/s01-parse/kernel.yaml",
    "parsers/s01-parse/lighttpd.yaml",
    "parsers/s01-parse/mariadb.yaml",
    "parsers/s01-parse/nginx.yaml",
    "parsers/s01-parse/pam.yaml",
    "parsers/s01-parse/postfix.yaml",
    "parsers/s01-parse/postgresql.yaml",
    "parsers/s01-parse/proftpd.yaml",
    "parsers/s01-parse/samba.yaml",
    "parsers/s01-parse/sshd.yaml",
    "parsers/s01-parse/traefik.yaml",
    "parsers/s01-parse/vsftpd.yaml",
    "parsers/s01-parse/windows.yaml",
    "parsers/s02-enrich/dates.yaml",
    "parsers/s02-enrich/geo.yaml",
    "parsers/s02-enrich/http.yaml",
    "parsers/s02-enrich/loopback.yaml",
    "postoverflows/s00-enrich/names.yaml",
    "postoverflows/s01-whitelist/cdns.yaml",
    "postoverflows/s01-whitelist/crawlers.yaml",
    "postoverflows/s01-whitelist/owners.yaml",
    "scenarios/credential-stuffing.yaml",
    "scenarios/database-bruteforce.yaml",
    "scenarios/distributed-bruteforce.yaml",
    "scenarios/distributed-flood.yaml",
    "scenarios/ftp-bruteforce.yaml",
    "scenarios/http-auth-bruteforce.yaml",
    "scenarios/http-bad-user-agent.yaml",
    "scenarios/http-card-testing.yaml",
    "scenarios/http-crawl.yaml",
    "scenarios/http-cve-probing.yaml",
    "scenarios/http-hidden-text.yaml",
    "scenarios/http-login-bruteforce.yaml",
    "scenarios/http-path-traversal.yaml",
    "scenarios/http-probing.yaml",
    "scenarios/http-script-injection.yaml",
    "scenarios/http-sensitive-files.yaml",
    "scenarios/http-sql-injection.yaml",
    "scenarios/listed-source-probing.yaml",
    "scenarios/local-bruteforce.yaml",
    "scenarios/login-bruteforce.yaml",
    "scenarios/mail-bruteforce.yaml",
    "scenarios/mail-many-passwords.yaml",
    "scenarios/port-scan.yaml",
    "scenarios/sip-bruteforce-udp.yaml",
    "scenarios/sip-bruteforce.yaml",
    "scenarios/smb-bruteforce.yaml",
    "scenarios/smtp-abuse.yaml",
    "scenarios/ssh-bruteforce.yaml",
    "scenarios/ssh-slow-bruteforce.yaml",
    "scenarios/ssh-user-enumeration.yaml",
    "scenarios/targeted.yaml",
    "scenarios/windows-bruteforce.yaml",
];

/// Collections: what belongs together for a service.
const COLLECTIONS: &[(&str, &str)] = files![
    "collections/apache.yaml",
    "collections/asterisk.yaml",
    "collections/base.yaml",
    "collections/caddy.yaml",
    "collections/databases.yaml",
    "collections/dovecot.yaml",
    "collections/exim.yaml",
    "collections/ftp.yaml",
    "collections/haproxy.yaml",
    "collections/http.yaml",
    "collections/lighttpd.yaml",
    "collections/linux.yaml",
    "collections/mail.yaml",
    "collections/nginx.yaml",
    "collections/postfix.yaml",
    "collections/proftpd.yaml",
    "collections/samba.yaml",
    "collections/sshd.yaml",
    "collections/traefik.yaml",
    "collections/vsftpd.yaml",
    "collections/windows.yaml",
];

/// All files, as a hub lists them.
pub(crate) fn files() -> Vec<EmbeddedFile> {
    [FILES, COLLECTIONS].concat()
}

/// The rules, and what is wrong with them: nothing, as the tests see to.
pub(crate) fn rules() -> (RuleSet, Vec<Diagnostic>) {
    let mut rules = RuleSet::default();
    let mut diagnostics = Vec::new();
    for (path, text) in FILES {
        let file = Arc::new(SourceFile { path: format!("content/{path}"), text: (*text).to_owned() });
        if let Some((stage, _)) = path.strip_prefix("parsers/").and_then(|rest| rest.split_once('/')) {
            let loaded = load_parsers(file, stage);
            rules.parsers.extend(loaded.items);
            diagnostics.extend(loaded.diagnostics);
        } else if let Some((stage, _)) =
            path.strip_prefix("postoverflows/").and_then(|rest| rest.split_once('/'))
        {
            let loaded = load_postoverflows(file, stage);
            rules.postoverflows.extend(loaded.items);
            diagnostics.extend(loaded.diagnostics);
        } else {
            let loaded = load_scenarios(file);
            rules.scenarios.extend(loaded.items);
            diagnostics.extend(loaded.diagnostics);
        }
    }
    (rules, diagnostics)
}

#[cfg(test)]
mod tests;
