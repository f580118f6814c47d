//! Network namespaces, with another machine at the end of a cable.

use std::env;
use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testudo_xdp::{Error, Xdp};

use crate::layout;

const INSIDE: &str = "TESTUDO_TEST_NAMESPACE";

/// Runs a test, named by its path, in namespaces of its own: of the network, and of mounts, so that the folder of links
/// vanishes, too. Prints why and does nothing where that cannot be.
pub(crate) fn within(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        match Xdp::open(layout()) {
            Err(error @ (Error::Permission { .. } | Error::Unsupported { .. } | Error::Folder { .. })) => {
                println!("skipped: {error}");
            }
            _ => body(),
        }
        return;
    }
    let possible = rustix::process::geteuid().is_root()
        && Command::new("unshare").args(["-n", "-m", "true"]).status().is_ok_and(|status| status.success());
    if !possible {
        println!("skipped: needs root, and namespaces of networks and mounts");
        return;
    }
    let temporary = tempfile::tempdir().expect("a folder");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--kill-child", "--fork"])
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("TMPDIR", temporary.path())
        .status()
        .expect("started");
    assert!(status.success(), "{test} in its namespace");
}

/// Runs a command that must succeed, its words parted by spaces; what it wrote.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().expect("a program")).args(words).output().expect(command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Whether an interface can be made in this way; says so when not.
pub(crate) fn can_add(words: &str) -> bool {
    let made = Command::new("ip")
        .args(["link", "add", "probe"])
        .args(words.split_whitespace())
        .output()
        .expect("ip");
    if made.status.success() {
        run("ip link del probe");
    } else {
        println!("skipped: the kernel makes no interface of {words}");
    }
    made.status.success()
}

/// Another machine, at the end of a cable: here is 10.9.0.1 and fd09::1, there all from 2 to 9.
pub(crate) struct Peer {
    holder: Child,
}

impl Peer {
    pub(crate) fn new() -> Peer {
        let holder = Command::new("unshare")
            .args(["--net", "--kill-child", "sleep", "600"])
            .spawn()
            .expect("a namespace");
        let peer = Peer { holder };
        peer.wait_for_namespace();
        run("ip link set lo up");
        peer.plug_in();
        peer
    }

    /// Puts the cable in, which may have been taken away.
    pub(crate) fn plug_in(&self) {
        let pid = self.holder.id();
        run(&format!("ip link add here type veth peer name there netns {pid}"));
        run("ip addr add 10.9.0.1/24 dev here");
        run("ip addr add fd09::1/64 dev here nodad");
        run("ip link set here up");
        self.run("ip link set lo up");
        for last in 2..10 {
            self.run(&format!("ip addr add 10.9.0.{last}/24 dev there"));
            self.run(&format!("ip addr add fd09::{last}/64 dev there nodad"));
        }
        self.run("ip link set there up");
        self.wait_for_cable();
    }

    /// Until packets arrive: it takes a moment until interfaces are up, and neighbours have found each other.
    fn wait_for_cable(&self) {
        for (here, there) in [("10.9.0.1:9998", "10.9.0.9"), ("[fd09::1]:9998", "fd09::9")] {
            let (listening, sending) = (UdpSocket::bind(here).expect(here), self.socket(there));
            listening.set_read_timeout(Some(Duration::from_millis(20))).expect("a limit");
            let arrives = |_| {
                let _ = sending.send_to(b"here", here);
                listening.recv_from(&mut [0; 8]).is_ok()
            };
            assert!((0..500).any(arrives), "no packet of {there} arrives");
        }
    }

    /// Runs a command over there.
    pub(crate) fn run(&self, command: &str) -> String {
        run(&format!("nsenter -t {} -n {command}", self.holder.id()))
    }

    fn wait_for_namespace(&self) {
        let own = std::fs::read_link("/proc/self/ns/net").expect("own");
        let path = format!("/proc/{}/ns/net", self.holder.id());
        for _ in 0..1_000 {
            if std::fs::read_link(&path).is_ok_and(|there| there != own) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("no namespace");
    }

    /// A socket over there, with this address.
    pub(crate) fn socket(&self, addr: &str) -> UdpSocket {
        let addr: IpAddr = addr.parse().expect(addr);
        let space = File::open(format!("/proc/{}/ns/net", self.holder.id())).expect("namespace");
        thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("entered");
            UdpSocket::bind((addr, 0)).expect("bound")
        })
        .join()
        .expect("done over there")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A socket here that takes packets.
pub(crate) fn listener(addr: &str) -> UdpSocket {
    let socket = UdpSocket::bind(addr).expect(addr);
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
    socket
}

/// The sender of each packet that has arrived.
pub(crate) fn arrived(socket: &UdpSocket) -> Vec<SocketAddr> {
    let mut from = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let Ok((_, sender)) = socket.recv_from(&mut buffer) {
        from.push(sender);
    }
    from
}
