//! Network namespaces, with another machine at the end of a cable.

use std::env;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use testudo_kernel::{Error, Layout, Nft};

const INSIDE: &str = "TESTUDO_TEST_NAMESPACE";

/// Runs a test, named by its path, in a namespace of its own. Prints why and does nothing where that cannot be.
pub(crate) fn within(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        match Nft::open(Layout::default()) {
            Err(Error::NoNftables) => println!("skipped: the kernel has no nftables"),
            _ => body(),
        }
        return;
    }
    let possible = rustix::process::geteuid().is_root()
        && Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|status| status.success());
    if !possible {
        println!("skipped: needs root and network namespaces");
        return;
    }
    let status = Command::new("unshare")
        .args(["--net", "--kill-child", "--fork"])
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("started");
    assert!(status.success(), "{test} in its namespace");
}

/// Whether a program is there; says so when not.
pub(crate) fn has(program: &str) -> bool {
    let there = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        println!("skipped: {program} is not installed");
    }
    there
}

/// Runs a command that must succeed, its words parted by spaces; what it wrote.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().expect("a program")).args(words).output().expect(command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command of nft, which may have braces and semicolons.
pub(crate) fn nft(command: &str) -> String {
    let output = Command::new("nft").arg(command).output().expect("nft");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
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
        let pid = peer.holder.id();
        run("ip link set lo up");
        run(&format!("ip link add here type veth peer name there netns {pid}"));
        run("ip addr add 10.9.0.1/24 dev here");
        run("ip addr add fd09::1/64 dev here nodad");
        run("ip link set here up");
        let there = |command: String| run(&format!("nsenter -t {pid} -n {command}"));
        there("ip link set lo up".to_owned());
        for last in 2..10 {
            there(format!("ip addr add 10.9.0.{last}/24 dev there"));
            there(format!("ip addr add fd09::{last}/64 dev there nodad"));
        }
        there("ip link set there up".to_owned());
        peer.wait_for_cable();
        peer
    }

    /// Until something comes through: a cable that was just put in is not ready at once.
    fn wait_for_cable(&self) {
        for (here, there) in [("10.9.0.1:4999", "10.9.0.9"), ("[fd09::1]:4999", "fd09::9")] {
            let ear = listener(here);
            ear.set_read_timeout(Some(Duration::from_millis(20))).expect("a limit");
            let sender = self.socket(there);
            let comes = (0..1_000).any(|_| {
                let _ = sender.send_to(b"x", here);
                ear.recv_from(&mut [0; 8]).is_ok()
            });
            assert!(comes, "nothing comes from {there}");
        }
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
        self.there(move || UdpSocket::bind((addr, 0)).expect("bound"))
    }

    /// Whether a connection can be made from the first address over there.
    pub(crate) fn connects(&self, to: &str) -> Result<(), ErrorKind> {
        let to: SocketAddr = to.parse().expect(to);
        let connected = self.there(move || TcpStream::connect_timeout(&to, Duration::from_secs(2)));
        connected.map(|_| ()).map_err(|error| error.kind())
    }

    fn there<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let space = File::open(format!("/proc/{}/ns/net", self.holder.id())).expect("namespace");
        thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("entered");
            act()
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
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a limit");
    socket
}

/// The sender of each packet that has arrived.
pub(crate) fn arrived(socket: &UdpSocket) -> Vec<SocketAddr> {
    let mut from = Vec::new();
    let mut buffer = [0; 64];
    while let Ok((_, sender)) = socket.recv_from(&mut buffer) {
        from.push(sender);
    }
    from
}
