//! Lists of files, for rules that ask who is listed where there is no store.

use std::{fs, path::PathBuf, sync::Arc};

use testudo_cli::ListedValue;
use testudo_engine::{ListBuilder, Listed};
use testudo_event::{Prefix, alert, net};
use testudo_expr::host::Listing;

use crate::{commands::replay::present, failure::Failure};

/// Who is listed in these files. Lists are taken as they are, whatever the time of a line. None where there is no file.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Option<Arc<Listed>>, Failure> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut builder = ListBuilder::default();
    let since = present().unix();
    for path in paths {
        let bad = |reason: String| {
            Failure::new(format!("{}: {reason}", path.display())).hint(
                "a list has one value a line, or is .csv or .json as `decisions import` takes it, or the JSON of \
                 `decisions list`",
            )
        };
        let text = fs::read_to_string(path).map_err(|error| bad(format!("it cannot be read: {error}")))?;
        for one in testudo_cli::read_listed(path, &text).map_err(bad)? {
            add(&mut builder, &one, since).map_err(bad)?;
        }
    }
    let listed = Listed::default();
    listed.set(builder.build());
    Ok(Some(Arc::new(listed)))
}

fn add(builder: &mut ListBuilder, one: &ListedValue, since: i64) -> Result<(), String> {
    let scope = alert::normalise_scope(&one.scope);
    if !matches!(scope, "" | alert::SCOPE_IP | alert::SCOPE_RANGE) {
        // Rules ask about addresses.
        return Ok(());
    }
    let network = Prefix::parse(&one.value).or_else(|| net::parse_ip_go(&one.value).map(Prefix::single));
    let network = network.ok_or_else(|| format!("`{}` is neither address nor network", one.value))?;
    let listing = Listing {
        origin: or(&one.origin, "cscli-import"),
        scenario: or(&one.reason, "manual"),
        kind: or(&one.kind, "ban"),
        since,
        until: i64::MAX,
    };
    builder.add(network, &listing);
    Ok(())
}

fn or<'t>(text: &'t str, default: &'t str) -> &'t str {
    if text.is_empty() { default } else { text }
}
