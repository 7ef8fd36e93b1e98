//! A proxy that holds every answer back until it is whole, as scanners of companies do: a stream without end never
//! gets through.

use super::{Fake, Peer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// In front of this address.
pub fn buffering(before: SocketAddr) -> Fake {
    Fake::new(move |head, client| {
        let _ = pass(before, head, client);
    })
}

fn pass(before: SocketAddr, head: &str, client: &mut dyn Peer) -> std::io::Result<()> {
    let is = |line: &str, name: &str| line.to_ascii_lowercase().starts_with(name);
    let length = head.lines().find(|line| is(line, "content-length:"));
    let length = length.and_then(|line| line.split(": ").nth(1)?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    client.read_exact(&mut body)?;
    let mut request: String = head
        .trim_end()
        .lines()
        .filter(|line| !is(line, "connection:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    request += "Connection: close\r\n\r\n";
    let mut server = TcpStream::connect(before)?;
    server.write_all(&[request.as_bytes(), &body].concat())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    client.write_all(&answer)
}
