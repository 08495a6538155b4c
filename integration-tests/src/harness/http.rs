//! Requests to the HTTP ports of a cluster's processes; a plain socket will do for that.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Whether a GET answers 200.
#[must_use]
pub fn http_ok(address: SocketAddr, path: &str) -> bool {
    request(address, "GET", path, "").is_ok_and(|(status, _)| status == 200)
}

/// The JSON that a GET answers with status 200; nothing where it answers otherwise, or not at all.
#[must_use]
pub fn get_json(address: SocketAddr, path: &str) -> Option<Value> {
    json(request(address, "GET", path, ""))
}

/// As [`get_json`], for a POST.
#[must_use]
pub fn post_json(address: SocketAddr, path: &str, body: &str) -> Option<Value> {
    json(request(address, "POST", path, body))
}

/// The sum of all series whose line in `/metrics` begins so: a name, or a name with some of its labels. 0 where there is none,
/// nothing where nobody answers.
#[must_use]
pub fn metric(address: SocketAddr, begins: &str) -> Option<f64> {
    let (status, text) = request(address, "GET", "/metrics", "").ok()?;
    let value = |line: &str| line.rsplit(' ').next()?.trim().parse::<f64>().ok();
    let lines = text.lines().filter(|line| line.starts_with(begins));
    (status == 200).then(|| lines.filter_map(value).sum())
}

fn json(answer: io::Result<(u16, String)>) -> Option<Value> {
    let (status, body) = answer.ok()?;
    // A chunked body has its lengths around the one document.
    let document = body.get(body.find(['{', '['])?..=body.rfind(['}', ']'])?)?;
    (status == 200).then(|| serde_json::from_str(document).ok()).flatten()
}

/// Status and body.
fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other("not HTTP"))?, body.to_owned()))
}

const ANSWER_BYTES_MAX: u64 = 16 << 20;
