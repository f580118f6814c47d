//! `capi`, `papi`, `console`, `notifications`: services that a node of ours does not use, said plainly.

use testudo_config::{Console, Output};

use crate::args::{CapiVerb, ConsoleVerb, NotificationsVerb, PapiVerb};
use crate::context::Context;
use crate::failure::{Done, Failure};
use crate::output::Table;

use super::unavailable;

const NO_CENTRAL_API: &str =
    "no central API is used: this node decides by itself, and neither sends signals nor fetches lists";

pub(crate) fn capi(verb: &CapiVerb) -> Done {
    match verb {
        CapiVerb::Status | CapiVerb::Register(_) => unavailable(NO_CENTRAL_API),
    }
}

pub(crate) fn papi(verb: &PapiVerb) -> Done {
    match verb {
        PapiVerb::Status | PapiVerb::Sync => {
            unavailable("no console is used: this node takes orders from nobody but its local API")
        }
    }
}

pub(crate) fn console(cx: &mut Context<'_, '_>, verb: &ConsoleVerb) -> Done {
    match verb {
        ConsoleVerb::Status => console_status(cx),
        ConsoleVerb::Enroll(_) | ConsoleVerb::Enable(_) | ConsoleVerb::Disable(_) => {
            unavailable("no console is used: nothing is shared with it, and there is nothing to enrol in")
        }
    }
}

fn console_status(cx: &mut Context<'_, '_>) -> Done {
    let path = cx.config()?.api.server.as_ref().and_then(|server| server.console_path.clone());
    let console = match path {
        Some(path) => Console::load(&path, cx.io.variable)?,
        None => Console::default(),
    };
    let options = [
        ("custom", console.share_custom, "Alerts of scenarios that are in no hub"),
        ("manual", console.share_manual_decisions, "Decisions by hand"),
        ("tainted", console.share_tainted, "Alerts of scenarios that were changed here"),
        ("context", console.share_context, "The context of alerts"),
        ("console_management", console.console_management, "Orders from the console"),
    ];
    match cx.output() {
        Output::Json => {
            let map: serde_json::Map<_, _> =
                options.into_iter().map(|(name, is_on, _)| (name.to_owned(), is_on.into())).collect();
            cx.json(&map, 1)
        }
        Output::Raw => {
            cx.csv(["option", "enabled"])?;
            options
                .iter()
                .try_for_each(|(name, is_on, _)| cx.csv([*name, if *is_on { "true" } else { "false" }]))
        }
        Output::Human => {
            let mut table = Table::new(["Option Name", "Activated", "Description"]);
            for (name, is_on, description) in options {
                table.row([name, if is_on { "✔️" } else { "❌" }, description]);
            }
            cx.table(&table)?;
            cx.note("No console is used: nothing is shared, whatever the options say.");
            Ok(())
        }
    }
}

pub(crate) fn notifications(cx: &mut Context<'_, '_>, verb: &NotificationsVerb) -> Done {
    match verb {
        NotificationsVerb::List => match cx.output() {
            Output::Json => cx.json::<[u8]>(&[], 1),
            Output::Raw => cx.csv(["Name", "Type", "Profile name"]),
            Output::Human => cx.table(&Table::new(["Active", "Name", "Type", "Profile name"])),
        },
        NotificationsVerb::Inspect(args) => {
            Err(Failure::text(format!("plugin '{}' does not exist or is not active", args.name)))
        }
        NotificationsVerb::Test(_) | NotificationsVerb::Reinject(_) => {
            unavailable("notifications are not available yet")
        }
    }
}
