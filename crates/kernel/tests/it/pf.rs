//! `pfctl`, played by a program that takes nothing that the real one would not take, and keeps tables in files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use testudo_kernel::{Pf, ProgramError};

use crate::net;

/// The strict double.
const DOUBLE: &str = include_str!("../../../../tests/firewall/pfctl");

struct Double {
    folder: PathBuf,
}

impl Double {
    fn new(name: &str) -> Double {
        let folder = std::env::temp_dir().join(format!("testudo-pf-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("pfctl"), DOUBLE).expect("written");
        fs::set_permissions(folder.join("pfctl"), fs::Permissions::from_mode(0o755)).expect("a program");
        fs::write(folder.join("info"), "Status: Enabled for 0 days 00:01:02           Debug: Urgent\n")
            .expect("written");
        fs::write(folder.join("states"), "").expect("written");
        fs::write(folder.join("most"), "5").expect("written");
        Double { folder }
    }

    fn open(&self, anchor: Option<&str>) -> Result<Pf, ProgramError> {
        Pf::open(&self.folder.join("pfctl"), anchor, "bad", Some("bad6"))
    }

    fn table(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(format!("{name}.table"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What was called since the last time.
    fn calls(&self) -> Vec<String> {
        let path = self.folder.join("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, "").expect("written");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn nets<const N: usize>(list: [&str; N]) -> Vec<testudo_event::Prefix> {
    list.iter().map(|text| net(text)).collect()
}

#[test]
fn tables_are_replaced_and_changed() {
    let double = Double::new("tables");
    let pf = double.open(None).expect("it is there");
    assert_eq!(pf.missing().expect("asked"), ["bad", "bad6"]);
    assert!(matches!(pf.list(), Err(ProgramError::NotThere(_))));
    pf.replace(&nets(["192.0.2.1", "198.51.100.0/24", "2001:db8::/32"])).expect("replaced");
    assert_eq!(pf.missing().expect("asked"), [""; 0]);
    assert_eq!(double.table("bad"), ["192.0.2.1/32", "198.51.100.0/24"]);
    assert_eq!(double.table("bad6"), ["2001:db8::/32"]);
    pf.add(&nets(["192.0.2.7", "2001:db8:1::7"])).expect("added");
    pf.delete(&nets(["192.0.2.1", "192.0.2.99"])).expect("deleted");
    let mut listed = pf.list().expect("listed");
    listed.sort_unstable();
    assert_eq!(listed, nets(["192.0.2.7", "198.51.100.0/24", "2001:db8::/32", "2001:db8:1::7"]));
    let full = pf.replace(&nets(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]));
    assert!(matches!(&full, Err(ProgramError::Full(what)) if what == "the table 'bad'"), "{full:?}");
    assert_eq!(double.table("bad").len(), 2, "what stood still stands");
    pf.clear().expect("cleared");
    assert_eq!((double.table("bad").len(), double.table("bad6").len()), (0, 0));
}

#[test]
fn connections_of_those_who_come_are_killed() {
    let double = Double::new("states");
    fs::write(
        double.folder.join("states"),
        "all tcp 192.0.2.1:22 <- 198.51.100.7:40112       ESTABLISHED:ESTABLISHED\n\
         all tcp 10.0.0.5:53 (192.0.2.1:6000) -> 203.0.113.9:53       MULTIPLE:SINGLE\n\
         all tcp 2001:db8::1[22] <- 2001:db8:7::7[40112]       ESTABLISHED:ESTABLISHED\n",
    )
    .expect("written");
    let pf = double.open(None).expect("it is there");
    double.calls();
    let banned = nets(["198.51.100.0/24", "2001:db8:7::/48", "192.0.2.99"]);
    pf.add(&banned).expect("added");
    pf.kill(&banned).expect("killed");
    assert_eq!(
        double.calls(),
        [
            "-t bad -T add -f -",
            "-t bad6 -T add -f -",
            "-s states",
            "-k 198.51.100.7",
            "-k 0.0.0.0/0 -k 198.51.100.7",
            "-k 2001:db8:7::7",
            "-k ::/0 -k 2001:db8:7::7",
        ]
    );
    pf.delete(&nets(["198.51.100.0/24"])).expect("deleted");
    assert_eq!(double.calls(), ["-t bad -T delete -f -"]);
}

#[test]
fn an_anchor_is_named_each_time() {
    let double = Double::new("anchor");
    let pf = double.open(Some("testudo")).expect("it is there");
    double.calls();
    pf.replace(&nets(["192.0.2.1"])).expect("replaced");
    assert!(double.calls().iter().all(|call| call.starts_with("-a testudo ")));
    assert_eq!(double.table("testudo/bad"), ["192.0.2.1/32"]);
}

#[test]
fn what_cannot_work_is_told() {
    let double = Double::new("wrong");
    fs::write(double.folder.join("info"), "Status: Disabled\n").expect("written");
    assert_eq!(
        double.open(None).expect_err("disabled").to_string(),
        "pf is not enabled; enable it with `pfctl -e`"
    );
    let missing = Pf::open(Path::new("/nowhere/pfctl"), None, "bad", None).expect_err("missing").to_string();
    assert_eq!(missing, "the program '/nowhere/pfctl' is not there: install the package that has it");
    for name in ["", "-T", "a b", "x; flush"] {
        let error = Pf::open(&double.folder.join("pfctl"), None, name, None).expect_err(name).to_string();
        assert!(error.contains("is no name of a table"), "{error}");
    }
}
