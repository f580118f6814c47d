//! The name of a verb, for messages.

use super::{
    AlertsVerb, AllowlistsVerb, BouncersVerb, CapiVerb, ConfigVerb, ConsoleVerb, DecisionsVerb, HubVerb,
    ItemsVerb, LapiVerb, MachinesVerb, NotificationsVerb, PapiVerb, SimulationVerb, SupportVerb,
};

/// A verb that knows its name.
pub(crate) trait Named {
    /// As it is typed.
    fn name(&self) -> &'static str;
}

macro_rules! named {
    ($verb:ident { $($pattern:pat => $name:literal),* $(,)? }) => {
        impl Named for $verb {
            fn name(&self) -> &'static str {
                use $verb::*;
                match self {
                    $($pattern => $name,)*
                }
            }
        }
    };
}

named!(AlertsVerb { List(_) => "list", Inspect(_) => "inspect", Delete(_) => "delete", Flush(_) => "flush" });
named!(DecisionsVerb { List(_) => "list", Add(_) => "add", Delete(_) => "delete", Import(_) => "import" });
named!(AllowlistsVerb {
    Create(_) => "create",
    List => "list",
    Delete(_) => "delete",
    Add(_) => "add",
    Import(_) => "import",
    Remove(_) => "remove",
    Inspect(_) => "inspect",
    Check(_) => "check",
});
named!(BouncersVerb {
    List => "list",
    Add(_) => "add",
    Delete(_) => "delete",
    Prune(_) => "prune",
    Inspect(_) => "inspect",
});
named!(MachinesVerb {
    List => "list",
    Add(_) => "add",
    Delete(_) => "delete",
    Validate(_) => "validate",
    Prune(_) => "prune",
    Inspect(_) => "inspect",
});
named!(SimulationVerb { Enable(_) => "enable", Disable(_) => "disable", Status => "status" });
named!(LapiVerb { Register(_) => "register", Status => "status", Context(_) => "context" });
named!(CapiVerb { Register(_) => "register", Status => "status" });
named!(PapiVerb { Status => "status", Sync => "sync" });
named!(ConsoleVerb { Enroll(_) => "enroll", Enable(_) => "enable", Disable(_) => "disable", Status => "status" });
named!(NotificationsVerb {
    List => "list",
    Inspect(_) => "inspect",
    Test(_) => "test",
    Reinject(_) => "reinject",
});
named!(ConfigVerb {
    Show(_) => "show",
    ShowYaml => "show-yaml",
    FeatureFlags(_) => "feature-flags",
    Backup(_) => "backup",
    Restore(_) => "restore",
});
named!(SupportVerb { Dump(_) => "dump" });
named!(ItemsVerb {
    List(_) => "list",
    Inspect(_) => "inspect",
    Install(_) => "install",
    Remove(_) => "remove",
    Upgrade(_) => "upgrade",
});
named!(HubVerb {
    List(_) => "list",
    Search(_) => "search",
    Install(_) => "install",
    Remove(_) => "remove",
    Inspect(_) => "inspect",
    Update(_) => "update",
    Upgrade(_) => "upgrade",
    Branch => "branch",
    Types => "types",
});
