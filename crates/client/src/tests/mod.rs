//! The client against the real API, and against peers that behave badly.

mod hostile;
mod real;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::{Client, Login, Retries, Settings};

/// What a peer of a test was asked, head and body of each request.
type Asked = Arc<Mutex<Vec<String>>>;

/// A peer that answers each connection's request with the next of these answers, byte for byte, and then
/// closes. With no answers left it closes at once.
async fn peer(answers: Vec<Vec<u8>>) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let address = listener.local_addr().expect("an address");
    let asked = Asked::default();
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(answer) = answers.next() else { continue };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !is_whole(&request) {
                let read = stream.read(&mut buffer).await.expect("a request");
                if read == 0 {
                    break;
                }
                request.extend_from_slice(&buffer[..read]);
            }
            told.lock().expect("a lock").push(String::from_utf8_lossy(&request).into_owned());
            // A client that has heard enough hangs up.
            let _ = stream.write_all(&answer).await;
        }
    });
    (address, asked)
}

/// Whether a request is there with its body.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some(end) = text.find("\r\n\r\n") else { return false };
    let length = text[..end].lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    request.len() >= end + 4 + length.unwrap_or(0)
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

const TOKEN: &str = r#"{"code":200,"expire":"2026-11-21T21:50:01Z","token":"a.b.c"}"#;

fn token() -> Vec<u8> {
    answer("200 OK", TOKEN)
}

fn machine() -> Login {
    Login::Password { machine: "edge-07".to_owned(), password: "a secret".to_owned() }
}

fn settings(address: SocketAddr, login: Login) -> Settings {
    Settings { retries: Retries::none(), ..Settings::new(format!("http://{address}/"), login) }
}

fn client(address: SocketAddr, login: Login) -> Client {
    Client::new(settings(address, login)).expect("a client")
}

/// The first lines of what a peer was asked.
fn lines(asked: &Asked) -> Vec<String> {
    let asked = asked.lock().expect("a lock");
    asked.iter().map(|request| request.lines().next().unwrap_or_default().to_owned()).collect()
}
