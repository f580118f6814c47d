//! Who may not change the packet filter is told so.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use testudo_kernel::{Error, Layout, Nft};

const NOBODY: u32 = 65_534;

#[test]
fn without_the_capability() {
    if rustix::process::geteuid().is_root() {
        let status = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "refused::without_the_capability"])
            .uid(NOBODY)
            .status();
        match status {
            Ok(status) => assert!(status.success()),
            Err(error) => println!("skipped: nobody cannot run this program: {error}"),
        }
        return;
    }
    let refused = Nft::open(Layout::default());
    assert!(matches!(refused, Err(Error::Permission | Error::NoNftables)), "{refused:?}");
}
