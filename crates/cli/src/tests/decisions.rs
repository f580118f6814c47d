//! `decisions`, `alerts`, `allowlists`, `unban`.

use super::*;

#[test]
fn by_hand() {
    let node = Node::start();
    assert_eq!(node.go("decisions list").good(), "No active decisions\n");
    assert_eq!(node.go("alerts list").good(), "No active alerts\n");
    assert_eq!(node.go("decisions list -o json").good(), "[]\n");
    let added = node.go("decisions add -i 192.0.2.77 -d 2h");
    assert_eq!(
        (added.ok, added.out.as_str(), added.err.as_str()),
        (true, "", "Decision successfully added\n")
    );
    // Programs are not disturbed.
    let quiet = node.run(&[
        "decisions",
        "add",
        "-r",
        "198.51.100.0/24",
        "-t",
        "captcha",
        "-R",
        "too, much",
        "-o",
        "json",
    ]);
    assert_eq!((quiet.ok, quiet.out.as_str(), quiet.err.as_str()), (true, "", ""));
    node.go("decisions add -i 192.0.2.77 -d 1h -R again").good();
    node.go("decisions add --scope username --value mallory -d 1d12h").good();
    assert_eq!(
        steady(&node.go("decisions list").good()),
        "\
| ID | Source | Scope:Value | Reason | Action | Country | AS | Events | expiration | Alert ID |
| 4 | cscli | username:mallory | manual 'ban' from 'edge-07' | ban | | | 1 | LEFT | 4 |
| 2 | cscli | Range:198.51.100.0/24 | too, much | captcha | | | 1 | LEFT | 2 |
| 1 | cscli | Ip:192.0.2.77 | manual 'ban' from 'edge-07' | ban | | | 1 | LEFT | 1 |
1 duplicated entries skipped
"
    );
    assert_eq!(
        steady(&node.go("decisions list -o raw -m -i 198.51.100.7").good()),
        "id,source,ip,reason,action,country,as,events_count,expiration,simulated,alert_id,machine\n\
         2,cscli,Range:198.51.100.0/24,\"too, much\",captcha,,,1,LEFT,false,2,edge-07\n"
    );
    let left = node.go("decisions list -o json -v mallory").json()[0]["decisions"][0]["duration"].clone();
    assert!(left.as_str().is_some_and(|left| left.starts_with("35h59m") || left == "36h0m0s"), "{left}");
    let listed = node.go("decisions list -o json -i 192.0.2.77").json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    let decision = &listed[0]["decisions"][0];
    assert_eq!(decision["value"], "192.0.2.77");
    assert!(decision["duration"].as_str().is_some_and(|left| left.starts_with("1h59m") || left == "2h0m0s"));
    assert_eq!(node.go("decisions list -t captcha -o json").json().as_array().map(Vec::len), Some(1));
    assert_eq!(node.go("decisions delete -i 192.0.2.77").err, "2 decision(s) deleted\n");
    assert_eq!(node.go("decisions delete --id 2").err, "1 decision(s) deleted\n");
    assert_eq!(node.go("decisions delete -t captcha").err, "0 decision(s) deleted\n");
    assert_eq!(node.go("decisions delete --all").err, "1 decision(s) deleted\n");
}

#[test]
fn what_cannot_be_decided() {
    let node = Node::start();
    for (line, cause) in [
        (
            "decisions add",
            "add: missing arguments, a value is required (--ip, --range or --scope and --value)",
        ),
        ("decisions add -i nonsense", "add: invalid ip address 'nonsense'"),
        (
            "decisions add -i 192.0.2.0/24",
            "add: invalid ip address '192.0.2.0/24': it is a range, for which there is --range",
        ),
        ("decisions add -i 192.0.2.1 -d 4x", "add: invalid duration '4x': "),
        ("decisions delete", "delete: at least one filter or --all must be specified"),
        (
            "decisions delete --id 99",
            "delete: API error: decision with id '99' doesn't exist: unable to delete",
        ),
        ("decisions delete --id x", "delete: id 'x' is not an integer"),
    ] {
        let error = node.go(line).bad();
        assert!(error.starts_with(&format!("Error: cscli decisions {cause}")), "{line}: {error}");
    }
}

#[test]
fn alerts_of_each_shape() {
    let node = Node::start();
    node.go("decisions add -i 192.0.2.77 -R first").good();
    node.go("decisions add -i 192.0.2.78 -R second -t captcha").good();
    assert_eq!(
        steady(&node.go("alerts list -m").good()),
        "\
| ID | value | reason | country | as | decisions | created_at | kind | machine |
| 2 | Ip:192.0.2.78 | second | | | captcha:1 | TIME | cscli | edge-07 |
| 1 | Ip:192.0.2.77 | first | | | ban:1 | TIME | cscli | edge-07 |
"
    );
    assert_eq!(
        steady(&node.go("alerts list -o raw -s first").good()),
        "id,scope,value,reason,country,as,decisions,created_at,kind\n1,Ip,192.0.2.77,first,,,ban:1,TIME,cscli\n"
    );
    assert_eq!(node.go("alerts list -o json -i 192.0.2.78 --since 1h").json()[0]["scenario"], "second");
    assert_eq!(node.go("alerts list --until 1h").good(), "No active alerts\n");
    let shown = steady(&node.go("alerts inspect -d 1").good());
    for line in [
        "- ID : 1\n",
        "- Machine : edge-07\n",
        "- Kind : cscli\n",
        "- Reason : first\n",
        "- Scope:Value : Ip:192.0.2.77\n",
        "- UUID : UUID\n",
        "| 1 | Ip:192.0.2.77 | ban | LEFT | TIME |\n",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(node.go("alerts inspect 2 -o json").json()["id"], 2);
    assert_eq!(
        node.go("alerts inspect 99").bad(),
        "Error: cscli alerts inspect: can't find alert with id 99: API error: object not found\n"
    );
    assert_eq!(
        node.go("alerts delete").bad(),
        "Error: cscli alerts delete: at least one filter or --all must be specified\n"
    );
    assert_eq!(node.go("alerts delete -i 192.0.2.77").err, "1 alert(s) deleted\n");
    assert_eq!(
        node.go("alerts flush --max-items 0").err,
        "Flushing alerts. !! This may take a long time !!\nAlerts flushed: 0\n"
    );
    assert_eq!(node.go("alerts delete --all").err, "1 alert(s) deleted\n");
}

#[test]
fn lists_in_files() {
    let node = Node::start();
    node.go("allowlists create office -d exits").good();
    node.go("allowlists add office 192.0.2.2").good();
    let csv = node.path("list.csv");
    std::fs::write(
        &csv,
        "value,duration,scope\n192.0.2.1,1h,\n192.0.2.2,,\n198.51.100.0/24,,\nmallory,,username\n",
    )
    .expect("written");
    let imported = node.run(&["decisions", "import", "-i", &csv]);
    assert!(imported.err.contains("Value 192.0.2.2 is allowlisted by 192.0.2.2 from office"), "{imported:?}");
    assert!(imported.err.ends_with("Imported 3 decisions\n"), "{imported:?}");
    let listed = node.go("decisions list -a -o raw").good();
    for part in [",cscli-import,Ip:192.0.2.1,manual,ban,", ",Range:198.51.100.0/24,", ",username:mallory,"] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let alert = &node.go("alerts list -a -o json").json()[0];
    assert_eq!(alert["scenario"], "import list.csv: 3 IPs");
    let values = node.with_input(
        &["decisions", "import", "-i", "-", "--format", "values", "--batch", "1"],
        "192.0.2.8\n192.0.2.9\n",
    );
    assert_eq!(values.err, "Imported 2 decisions\n");
    let error = node.with_input(&["decisions", "import", "-i", "-"], "192.0.2.8\n").bad();
    assert!(error.contains("please provide a format with --format flag"), "{error}");
    let error = node
        .with_input(&["decisions", "import", "-i", "-", "--format", "values"], "192.0.2.8\nnonsense\n")
        .bad();
    assert!(error.contains("item 2: invalid ip address 'nonsense'"), "{error}");
}

#[test]
fn allowlists() {
    let node = Node::start();
    node.go("decisions add -i 192.0.2.7").good();
    assert_eq!(
        node.run(&["allowlists", "create", "office", "-d", "vpn, exits"]).good(),
        "allowlist 'office' created successfully\n"
    );
    assert_eq!(
        node.go("allowlists create office -d x").bad(),
        "Error: cscli allowlists create: allowlist 'office' already exists\n"
    );
    let added = node.go("allowlists add office 192.0.2.0/28 2001:db8::1 nonsense 192.0.2.0/28 -d us");
    assert_eq!(added.out, "added 2 values to allowlist office\n1 decisions deleted by allowlists\n");
    assert_eq!(
        added.err,
        "Error: unable to parse value nonsense: invalid ip address or range\nvalue 192.0.2.0/28 already in allowlist\n"
    );
    assert_eq!(node.go("allowlists add office 192.0.2.0/28").good(), "no new values for allowlist\n");
    assert_eq!(
        steady(&node.go("allowlists list").good()),
        "| Name | Description | Created at | Updated at | Managed by Console | Size |\n| office | vpn, exits | TIME | TIME | no | 2 |\n"
    );
    assert_eq!(
        steady(&node.go("allowlists inspect office -o raw").good()),
        "name,description,value,comment,expiration,created_at,console_managed\n\
         office,\"vpn, exits\",192.0.2.0/28,us,never,TIME,false\noffice,\"vpn, exits\",2001:db8::1,us,never,TIME,false\n"
    );
    assert_eq!(
        node.go("allowlists check 192.0.2.7 192.0.3.7").good(),
        "192.0.2.7 is allowlisted by item 192.0.2.0/28 from office (us)\n192.0.3.7 is not allowlisted\n"
    );
    assert_eq!(
        node.go("decisions add -i 192.0.2.7").bad(),
        "Error: cscli decisions add: 192.0.2.7 is allowlisted by item 192.0.2.0/28 from office (us), use --bypass-allowlist to add the decision anyway\n"
    );
    node.go("decisions add -i 192.0.2.7 -B").good();
    let csv = node.path("allow.csv");
    std::fs::write(&csv, "value,expiration,comment\n192.0.2.99,7d,guest\n").expect("written");
    assert_eq!(
        node.run(&["allowlists", "import", "office", "-i", &csv]).good(),
        "added 1 values to allowlist office\n"
    );
    let items = node.go("allowlists inspect office -o json").json()["items"].clone();
    assert_eq!(items[2]["description"], "guest");
    let removed = node.go("allowlists remove office 192.0.2.99 192.0.2.98");
    assert_eq!(
        (removed.out.as_str(), removed.err.as_str()),
        ("removed 1 values from allowlist office\n", "value 192.0.2.98 not in allowlist\n")
    );
    assert_eq!(node.go("allowlists delete office").good(), "allowlist 'office' deleted successfully\n");
    assert_eq!(
        node.go("allowlists delete office").bad(),
        "Error: cscli allowlists delete: allowlist 'office' not found\n"
    );
}

#[test]
fn unban_works_with_everything_else_down() {
    let mut node = Node::start();
    node.go("decisions add -i 192.0.2.7").good();
    node.go("decisions add -i 192.0.2.8").good();
    node.go("decisions add -r 192.0.2.0/24").good();
    node.go("decisions add --scope username --value mallory").good();
    node.end_api();
    assert!(node.go("decisions list").bad().contains("cannot reach the local API"));
    let told = steady(&node.go("unban 192.0.2.7").good());
    assert!(
        told.contains("| 1 | Ip:192.0.2.7 | ban | cscli |")
            && told.contains("| 3 | Range:192.0.2.0/24 | ban |"),
        "{told}"
    );
    assert!(told.ends_with("2 decision(s) ended. Bouncers lift them when they next ask.\n"), "{told}");
    assert_eq!(node.go("unban 192.0.2.7").good(), "There is no decision in force about that.\n");
    assert_eq!(node.go("unban mallory 192.0.2.0/24 -o json").json()["ended"], 2);
    assert_eq!(node.go("unban --all").good(), "There is no decision in force.\n");
    assert_eq!(node.service.store().index(now_ms()).active(), 0);
}
