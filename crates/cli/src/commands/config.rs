//! `config`: what is configured.

use std::fmt::Write as _;

use testudo_config::{Config, Features};

use crate::args::{ConfigVerb, FeatureFlags, ShowConfig};
use crate::context::Context;
use crate::failure::{Done, Failure};

use super::unavailable;

pub(crate) fn run(cx: &mut Context<'_, '_>, verb: &ConfigVerb) -> Done {
    match verb {
        ConfigVerb::Show(args) => show(cx, args),
        ConfigVerb::ShowYaml => {
            let text = Config::show_yaml(&cx.config_path)?;
            cx.text(&text)
        }
        ConfigVerb::FeatureFlags(args) => features(cx, args),
        ConfigVerb::Backup(_) => unavailable(
            "'cscli config backup' has been removed, you can manually backup/restore the configuration directory instead",
        ),
        ConfigVerb::Restore(_) => unavailable(
            "'cscli config restore' has been removed, you can manually backup/restore the configuration directory instead",
        ),
    }
}

fn show(cx: &mut Context<'_, '_>, args: &ShowConfig) -> Done {
    if !args.key.is_empty() {
        let credentials = cx.credentials().ok();
        let text = cx.config()?.show_key(&args.key, credentials.as_ref())?;
        return cx.line(text);
    }
    let text = summary(cx)?;
    cx.text(&text)
}

/// What matters, as indented lines.
fn summary(cx: &Context<'_, '_>) -> Result<String, Failure> {
    let config = cx.config()?;
    let mut out = String::new();
    let mut section = |title: &str, lines: Vec<(&str, String)>| {
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{title}:");
        for (name, value) in lines {
            out.push_str(format!("   - {name:<22} : {value}").trim_end());
            out.push('\n');
        }
    };
    let path = |path: &std::path::Path| path.display().to_string();
    let maybe =
        |path: Option<&std::path::PathBuf>| path.map_or(String::new(), |path| path.display().to_string());
    section(
        "Global",
        vec![
            ("Configuration Folder", path(&config.paths.config_dir)),
            ("Data Folder", path(&config.paths.data_dir)),
            ("Hub Folder", path(&config.paths.hub_dir)),
            ("Simulation File", path(&config.paths.simulation_path)),
            ("Log Folder", path(&config.common.log_dir)),
            ("Log level", config.common.log_level.name().to_owned()),
            ("Log Media", format!("{:?}", config.common.log_media).to_lowercase()),
        ],
    );
    if let Some(agent) = &config.agent {
        section(
            "Crowdsec",
            vec![
                ("Enabled", agent.enable.to_string()),
                ("Acquisition File", maybe(agent.acquisition_path.as_ref())),
                ("Acquisition Folder", maybe(agent.acquisition_dir.as_ref())),
            ],
        );
    }
    section(
        "cscli",
        vec![
            ("Output", format!("{:?}", config.commands.output).to_lowercase()),
            ("Hub Branch", config.commands.hub_branch.clone()),
        ],
    );
    if let Some(client) = &config.api.client {
        let mut lines = Vec::new();
        if let Ok(credentials) = cx.credentials() {
            lines.push(("URL", credentials.url));
            lines.push(("Login", credentials.login));
        }
        lines.push(("Credentials File", maybe(client.credentials_path.as_ref())));
        section("API Client", lines);
    }
    if let Some(server) = &config.api.server {
        let trusted: Vec<String> = server.trusted_ips.iter().map(ToString::to_string).collect();
        section(
            "Local API Server",
            vec![
                ("Enabled", server.enable.to_string()),
                ("Listen URL", server.listen_uri.clone().unwrap_or_default()),
                ("Listen Socket", maybe(server.listen_socket.as_ref())),
                ("Profile File", maybe(server.profiles_path.as_ref())),
                ("Trusted IPs", trusted.join(", ")),
            ],
        );
    }
    if let Some(database) = &config.database {
        section(
            "Database",
            vec![
                ("Type", format!("{:?}", database.kind).to_lowercase()),
                ("Path", maybe(database.db_path.as_ref())),
                ("Host", database.host.clone()),
                ("Name", database.db_name.clone()),
                ("User", database.user.clone()),
            ],
        );
        if let Some(flush) = &database.flush {
            let age = flush.max_age.map(|age| format!("{}s", age.as_secs())).unwrap_or_default();
            let items = flush.max_items.map(|items| items.to_string()).unwrap_or_default();
            section("Flush", vec![("Max age", age), ("Max items", items)]);
        }
    }
    section(
        "Prometheus",
        vec![
            ("Enabled", config.prometheus.enabled.to_string()),
            ("Listen", format!("{}:{}", config.prometheus.listen_addr, config.prometheus.listen_port)),
        ],
    );
    Ok(out)
}

fn features(cx: &mut Context<'_, '_>, args: &FeatureFlags) -> Done {
    let path = cx.config()?.paths.config_dir.join("feature.yaml");
    let features = Features::load(&path, cx.io.variable)?;
    for warning in &features.warnings {
        cx.warn(warning);
    }
    let list = |cx: &mut Context<'_, '_>, title: &str, names: &[&str]| {
        cx.line(format_args!(" --- {title} ---\n"))?;
        names.iter().try_for_each(|name| cx.line(format_args!("{name}")))?;
        cx.line("")
    };
    list(cx, "Enabled features", &features.enabled)?;
    let disabled: Vec<&str> =
        Features::names(false).filter(|name| !features.enabled.contains(name)).collect();
    list(cx, "Disabled features", &disabled)?;
    if args.retired {
        list(cx, "Retired features", &Features::names(true).collect::<Vec<_>>())?;
    }
    cx.line(format_args!("To enable a feature, add its name to {}", path.display()))
}
