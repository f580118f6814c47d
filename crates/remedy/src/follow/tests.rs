//! Following APIs that behave badly.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use testudo_client::{Login, Retries, Settings, Timeouts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What an API does when it is asked.
#[derive(Clone, Debug)]
enum Does {
    /// Answers with these bytes and hangs up.
    Says(String),
    /// Answers with these bytes, and then nothing.
    Stalls(String),
}

/// What was asked: `events`, `all` or `changes`.
type Asked = Arc<Mutex<Vec<&'static str>>>;

fn asked(head: &str) -> &'static str {
    match head {
        head if head.contains("/v1/decisions/events") => "events",
        head if head.contains("startup=true") => "all",
        _ => "changes",
    }
}

/// An API that does these things in turn, whatever it is asked, and the last one again and again.
async fn api(does: Vec<(&'static str, Does)>) -> (Client, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let address = listener.local_addr().expect("an address");
    let noted = Asked::default();
    let notes = Arc::clone(&noted);
    tokio::spawn(async move {
        let mut does = VecDeque::from(does);
        while let Ok((stream, _)) = listener.accept().await {
            let next = if does.len() > 1 { does.pop_front() } else { does.front().cloned() };
            tokio::spawn(answer(stream, next.expect("there is one"), Arc::clone(&notes)));
        }
    });
    let short = Duration::from_millis(300);
    let login = Login::Key("a key".to_owned());
    let settings = Settings {
        retries: Retries::none(),
        timeouts: Timeouts { connect: short, answer: short, silence: short },
        ..Settings::new(format!("http://{address}/"), login)
    };
    (Client::new(settings).expect("a client"), noted)
}

async fn answer(mut stream: TcpStream, (expected, does): (&'static str, Does), notes: Asked) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut buffer).await.expect("a request");
        if read == 0 {
            return;
        }
        head.extend_from_slice(&buffer[..read]);
    }
    let found = asked(&String::from_utf8_lossy(&head));
    notes.lock().expect("a lock").push(found);
    assert_eq!(found, expected, "so far: {notes:?}");
    match does {
        Does::Says(text) => {
            // Who has heard enough hangs up.
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Does::Stalls(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.read(&mut buffer).await;
        }
    }
}

fn says(status: &str, body: &str) -> Does {
    let length = body.len();
    Does::Says(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"))
}

fn events(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{text}")
}

/// A body with so many new decisions.
fn body(count: usize) -> String {
    let decisions: Vec<String> = (1..=count)
        .map(|id| format!(r#"{{"duration":"1h","id":{id},"origin":"cscli","scenario":"x","scope":"Ip","type":"ban","value":"192.0.2.1"}}"#))
        .collect();
    format!(r#"{{"new": [{}], "deleted": []}}"#, decisions.join(","))
}

/// The first news, in short: how many new ones, or why none.
async fn news(client: &Client, most: usize) -> Vec<String> {
    let wanted = Wanted { parameters: Vec::new(), every: Duration::from_millis(10) };
    let (sender, mut receiver) = mpsc::channel::<News>(1);
    let hear = async {
        let mut heard = Vec::new();
        while heard.len() < most {
            heard.push(match receiver.recv().await.expect("news") {
                News::All(body) => format!("all {}", body.new.len()),
                News::Changed(body) => format!("changed {}", body.new.len()),
                News::Failed(error) => match error.status() {
                    Some(status) => format!("failed {status}"),
                    None => "failed".to_owned(),
                },
            });
        }
        heard
    };
    tokio::select! {
        heard = hear => heard,
        () = follow(client, &wanted, 0, &sender) => panic!("it goes on as long as somebody hears"),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nothing is told"),
    }
}

#[tokio::test]
async fn what_breaks_off_counts_for_nothing() {
    let cut = Does::Says(format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", body(5)));
    let (client, _) = api(vec![
        ("events", says("404 Not Found", "")),
        ("all", cut),
        ("events", says("404 Not Found", "")),
        ("all", says("200 OK", &body(2))),
        ("changes", says("200 OK", r#"{"new": null, "deleted": null}"#)),
        ("changes", says("200 OK", r#"{"new": [{"duration":"1h","id":1},"#)),
        ("events", says("404 Not Found", "")),
        // Whatever may have been lost is in here.
        ("all", says("200 OK", &body(3))),
        ("changes", says("500 Internal Server Error", r#"{"message":"no"}"#)),
    ])
    .await;
    let heard = news(&client, 6).await;
    assert_eq!(heard, ["failed", "all 2", "changed 0", "failed", "all 3", "failed 500"]);
}

#[tokio::test]
async fn an_api_that_stalls_is_given_up() {
    let (client, _) = api(vec![
        ("events", says("405 Method Not Allowed", "")),
        ("all", Does::Stalls(format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", body(1)))),
        ("events", says("405 Method Not Allowed", "")),
        ("all", says("200 OK", &body(1))),
        ("changes", Does::Stalls(String::new())),
    ])
    .await;
    assert_eq!(news(&client, 3).await, ["failed", "all 1", "failed"]);
}

#[tokio::test]
async fn where_events_are_kept_back_it_is_asked() {
    let (client, _) = api(vec![
        ("events", Does::Stalls(events(""))),
        ("all", says("200 OK", &body(1))),
        ("changes", says("200 OK", &body(4))),
    ])
    .await;
    assert_eq!(news(&client, 2).await, ["all 1", "changed 4"]);
}

#[tokio::test]
async fn where_listeners_are_let_go_at_once_it_is_asked() {
    let position = || ("events", Does::Says(events("event: position\ndata: {}\n\n")));
    let all = || ("all", says("200 OK", &body(1)));
    let (client, asked) = api(vec![
        position(),
        all(),
        position(),
        all(),
        position(),
        all(),
        all(),
        ("changes", says("200 OK", &body(0))),
    ])
    .await;
    assert_eq!(news(&client, 5).await, ["all 1", "all 1", "all 1", "all 1", "changed 0"]);
    let tries = asked.lock().expect("a lock").iter().filter(|asked| **asked == "events").count();
    assert_eq!(tries, SHORT_MOST as usize);
}

#[tokio::test]
async fn an_api_that_suddenly_tells_far_fewer_is_asked_again() {
    let (client, asked) = api(vec![
        ("events", Does::Stalls(events("event: position\ndata: {}\n\nevent: reset\ndata: {}\n\n"))),
        ("all", says("200 OK", &body(DOUBT_LEAST * 2))),
        ("all", says("200 OK", &body(10))),
        ("all", says("200 OK", &body(DOUBT_LEAST * 2))),
    ])
    .await;
    assert_eq!(news(&client, 2).await, ["all 2000", "all 2000"]);
    assert_eq!(*asked.lock().expect("a lock"), ["events", "all", "all", "all"]);
}
