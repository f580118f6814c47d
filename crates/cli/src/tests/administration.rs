//! `bouncers`, `machines`, `lapi`.

use testudo_api::hash_key;
use testudo_store::Bouncer;

use super::*;

#[test]
fn bouncers_come_and_go() {
    let node = Node::start();
    assert_eq!(node.go("bouncers list -o json").good(), "[]\n");
    let key = node.go("bouncers add fw -o raw").good();
    assert_eq!(key.trim_end().len(), 43, "{key}");
    let known = node.service.store().bouncers().get("fw").expect("it is there");
    assert_eq!(known.key_hash, hash_key(key.trim_end()));
    assert_eq!(node.go("bouncers add web -k chosen -o json").good(), "\"chosen\"\n");
    assert_eq!(
        node.go("bouncers add third -k chosen-too").good(),
        "API key for 'third':\n\n   chosen-too\n\nPlease keep this key since you will not be able to retrieve it!\n"
    );
    assert_eq!(
        node.go("bouncers add fw").bad(),
        "Error: cscli bouncers add: unable to create bouncer: bouncer fw already exists\n"
    );
    let child = Bouncer {
        name: "web@192.0.2.1".to_owned(),
        auto_created: true,
        ..node.service.store().bouncers().get("web").expect("it is there")
    };
    node.service.store().bouncers().insert(child).expect("inserted");
    assert_eq!(
        node.go("bouncers list -o raw").good(),
        "name,ip,revoked,last_pull,type,version,auth_type\nfw,,validated,,,,api-key\nthird,,validated,,,,api-key\n\
         web,,validated,,,,api-key\nweb@192.0.2.1,,validated,,,,api-key\n"
    );
    let table = node.go("bouncers list").good();
    assert!(table.starts_with("+---------------+------------+-------+---------------+------+---------+-----------+\n| Name          | IP Address | Valid | Last API pull | Type | Version | Auth Type |\n"), "{table}");
    let shown = node.go("bouncers list -o json").json();
    let keys: Vec<&str> = shown[0].as_object().expect("a map").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "created_at",
            "updated_at",
            "name",
            "revoked",
            "ip_address",
            "type",
            "version",
            "last_pull",
            "auth_type",
            "os",
            "featureflags",
            "auto_created"
        ]
    );
    assert!(node.go("bouncers inspect fw").good().contains("| Auth type    | api-key"));
    let refused = node.go("bouncers delete web@192.0.2.1").bad();
    assert!(refused.contains("delete parent bouncer 'web' instead"), "{refused}");
    node.go("bouncers delete web").good();
    assert_eq!(node.service.store().bouncers().list().len(), 2);
    assert_eq!(
        node.go("bouncers delete web").bad(),
        "Error: cscli bouncers delete: unable to delete bouncer: 'web' does not exist\n"
    );
    node.go("bouncers delete web fw --ignore-missing").good();
    assert_eq!(node.go("bouncers prune").good(), "No bouncers to prune.\n");
    node.service.store().bouncers().update("third", |one| one.last_pull_ms = Some(1)).expect("changed");
    assert!(node.with_input(&["bouncers", "prune"], "n\n").good().ends_with("No changes were made.\n"));
    assert!(node.go("bouncers prune --force").good().ends_with("Successfully deleted 1 bouncers\n"));
    assert_eq!(node.service.store().bouncers().list().len(), 0);
}

#[test]
fn machines_come_and_go() {
    let node = Node::start();
    let file = node.path("other.yaml");
    let added = node.run(&["machines", "add", "tool", "-p", "word", "-f", &file]);
    assert_eq!(
        added.err,
        format!(
            "Machine 'tool' successfully added to the local API.\nAPI credentials written to '{file}'.\n"
        )
    );
    let written = std::fs::read_to_string(&file).expect("written");
    assert_eq!(written, format!("url: {}\nlogin: tool\npassword: word\n", node.path("api.sock")));
    let shown = node.go("machines add -a -f - --force").good();
    assert!(shown.contains("login: ") && shown.contains("password: "), "{shown}");
    for (line, cause) in [
        ("machines add", "please specify a machine name to add, or use --auto"),
        ("machines add x", "please specify a password with --password or use --auto"),
        ("machines add tool -p x -f -", "unable to create machine: user 'tool': user already exist"),
        ("machines delete nosuch", "unable to delete machine: 'nosuch' does not exist"),
        ("machines validate nosuch", "unable to validate machine 'nosuch': it does not exist"),
    ] {
        let error = node.go(line).bad();
        assert!(error.contains(cause), "{line}: {error}");
    }
    let long = "x".repeat(73);
    assert!(
        node.run(&["machines", "add", "x", "-p", &long, "-f", "-"])
            .bad()
            .ends_with("password too long (max 72 characters)\n")
    );
    let taken = node.go("machines add -a").bad();
    assert!(taken.contains("already exists: please remove it"), "{taken}");
    let listed = node.go("machines list -o raw").good();
    assert!(
        listed
            .starts_with("machine_id,ip_address,updated_at,validated,version,auth_type,last_heartbeat,os\n"),
        "{listed}"
    );
    let shown = node.go("machines list -o json").json();
    let keys: Vec<&str> = shown[0].as_object().expect("a map").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "created_at",
            "updated_at",
            "last_push",
            "last_heartbeat",
            "machineId",
            "ipAddress",
            "version",
            "isValidated",
            "auth_type",
            "os",
            "featureflags",
            "datasources"
        ]
    );
    assert!(node.go("machines inspect tool").good().contains("| Validated?     | true"));
    assert_eq!(node.go("machines inspect tool -H").good(), "No hub items found for this machine\n");
    node.service
        .store()
        .machines()
        .update("tool", |one| {
            one.hub_state =
                r#"{"scenarios":[{"name":"a/b","version":"0.1","status":"official"}]}"#.to_owned();
        })
        .expect("changed");
    assert!(node.go("machines inspect tool -H").good().contains("| a/b  | official | 0.1     |"));
    node.service.store().machines().update("tool", |one| one.validated = false).expect("changed");
    assert_eq!(node.go("machines validate tool").err, "machine 'tool' validated successfully\n");
    node.go("machines delete tool nosuch --ignore-missing").good();
    assert_eq!(node.go("machines prune --not-validated-only").good(), "No machines to prune.\n");
    assert!(node.go("machines prune -d 0s --force").good().ends_with("successfully deleted 2 machines\n"));
}

#[test]
fn the_connection() {
    let node = Node::start();
    let told = node.go("lapi status").good();
    assert!(told.ends_with("You can successfully interact with Local API (LAPI)\n"), "{told}");
    let socket = node.path("api.sock");
    let file = node.path("new.yaml");
    let registered = node.run(&["lapi", "register", "-u", &socket, "--machine", "newcomer", "-f", &file]);
    assert!(registered.err.contains("cscli machines validate newcomer"), "{registered:?}");
    let saved = std::fs::read_to_string(&file).expect("written");
    assert!(saved.contains("login: newcomer\n"), "{saved}");
    let again = node.run(&["lapi", "register", "-u", &socket, "--machine", "newcomer", "-f", &file]).bad();
    assert_eq!(
        again,
        "Error: cscli lapi register: api client register: API error: user 'newcomer': user already exist\n"
    );
    std::fs::copy(&file, node.path("credentials.yaml")).expect("copied");
    assert_eq!(
        node.go("lapi status").bad(),
        "Error: cscli lapi status: failed to authenticate to Local API (LAPI): API error: machine newcomer not validated\n"
    );
    node.go("machines validate newcomer").good();
    node.go("lapi status").good();
}

#[test]
fn an_agent_has_no_database() {
    let node = Node::start();
    let config = std::fs::read_to_string(node.path("config.yaml")).expect("read");
    let config = config.replace("  server:\n", "  server:\n    enable: false\n");
    std::fs::write(node.path("config.yaml"), config).expect("written");
    node.go("decisions add -i 192.0.2.7").good();
    for line in ["bouncers list", "machines list", "allowlists create a -d b", "alerts flush", "unban --all"]
    {
        let error = node.go(line).bad();
        assert!(
            error.ends_with("local API is disabled -- this command must be run on the local API machine\n"),
            "{line}: {error}"
        );
    }
    let told = node.go("why 192.0.2.7").good();
    assert!(told.contains("Decisions in force"), "{told}");
}
