use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc::Receiver,
};

use super::{serve::serve_on, *};
use crate::{batch::Batch, kind::Kind, position::Positions, testing, tls::Acceptor};

fn config(raw: bool) -> SyslogConfig {
    SyslogConfig {
        address: IpAddr::from([127, 0, 0, 1]),
        port: 0,
        max_message: 60,
        udp: true,
        tcp: true,
        tls: None,
        raw,
    }
}

async fn take(batches: &mut Receiver<Batch>, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let batch = tokio::time::timeout(Duration::from_secs(20), batches.recv()).await;
        let batch = batch.expect("lines come").expect("the source runs");
        assert!(batch.progress().is_none());
        lines.extend(batch.lines().map(|line| format!("{} {line}", batch.stream.src)));
    }
    lines
}

#[tokio::test]
async fn datagrams_and_streams() {
    for (local, address) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let Ok(udp) = UdpSocket::bind(local).await else {
            println!("skipped: no {local}");
            continue;
        };
        let tcp = TcpListener::bind(local).await.expect("it listens");
        let (to_udp, to_tcp) = (udp.local_addr().expect("an address"), tcp.local_addr().expect("an address"));
        let (outlet, mut batches) = testing::outlet(&testing::settings(Kind::Syslog), Positions::default());
        let counters = Arc::clone(outlet.counters());
        let server = tokio::spawn(async move {
            serve_on(&config(false), Some(udp), Some(tcp), Acceptor::new(None).expect("no TLS"), &outlet)
                .await
        });
        let client = UdpSocket::bind(local).await.expect("a socket");
        for message in
            ["<13>Feb  5 17:32:18 h my-app: one", "garbage", "<13>1 2026-02-05T17:32:19Z h app 7 - - two\n"]
        {
            client.send_to(message.as_bytes(), to_udp).await.expect("it is sent");
        }
        let expected = [
            format!("{address} Feb  5 17:32:18 h my-app: one"),
            format!("{address} Feb  5 17:32:19 h app[7]: two"),
        ];
        assert_eq!(take(&mut batches, 2).await, expected);
        let mut stream = TcpStream::connect(to_tcp).await.expect("it connects");
        stream
            .write_all(b"<13>Feb  5 17:32:18 h app: three\n36 <13>Feb  5 17:32:18 h app: four\nmore<13>")
            .await
            .expect("it is sent");
        let expected = [
            format!("{address} Feb  5 17:32:18 h app: three"),
            format!("{address} Feb  5 17:32:18 h app: four more"),
        ];
        assert_eq!(take(&mut batches, 2).await, expected);
        stream.write_all(b"Feb  5 17:32:18 h app: five").await.expect("it is sent");
        drop(stream);
        assert_eq!(take(&mut batches, 1).await, [format!("{address} Feb  5 17:32:18 h app: five")]);
        assert_eq!(counters.malformed.get(), 1);
        assert_eq!((counters.rfc3164.get(), counters.rfc5424.get()), (4, 1));
        server.abort();
    }
}

#[tokio::test]
async fn only_the_priority_is_taken_off() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("it listens");
    let to = udp.local_addr().expect("an address");
    let (outlet, mut batches) = testing::outlet(&testing::settings(Kind::Syslog), Positions::default());
    let server = tokio::spawn(async move {
        serve_on(&config(true), Some(udp), None, Acceptor::new(None).expect("no TLS"), &outlet).await
    });
    let client = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for message in ["<13>anything: x", "nothing to take off", &"<1>".repeat(30)] {
        client.send_to(message.as_bytes(), to).await.expect("it is sent");
    }
    let expected = [
        "127.0.0.1 anything: x",
        "127.0.0.1 nothing to take off",
        &format!("127.0.0.1 {}", "<1>".repeat(19)),
    ];
    assert_eq!(take(&mut batches, 3).await, expected);
    server.abort();
}
