//! A syslog receiver over TCP or TLS: messages with their length before them. It closes a connection once it has read the end
//! of it, as they all do; it may also die in the middle, hang, or take no connection at all.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How it treats connections.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
pub enum Mood {
    Takes,
    /// Reads some bytes of each and dies with the rest unread.
    Dies,
    /// Reads nothing more.
    Hangs,
    /// Closes each at once.
    Closed,
}

pub struct Syslog {
    pub port: u16,
    messages: Arc<Mutex<Vec<String>>>,
    mood: Arc<AtomicU8>,
}

impl Syslog {
    pub fn start(tls: bool) -> Syslog {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let syslog = Syslog {
            port: listener.local_addr().unwrap().port(),
            messages: Arc::default(),
            mood: Arc::default(),
        };
        let (messages, mood) = (syslog.messages.clone(), syslog.mood.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (messages, mood) = (messages.clone(), mood.clone());
                std::thread::spawn(move || match tls {
                    false => take(stream, &messages, &mood),
                    true => {
                        let session = rustls::ServerConnection::new(super::tls_config()).unwrap();
                        take(rustls::StreamOwned::new(session, stream), &messages, &mood);
                    }
                });
            }
        });
        syslog
    }

    pub fn is(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// What was taken, in order.
    pub fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }
}

fn take(mut peer: impl Read + AsTcp, messages: &Mutex<Vec<String>>, mood: &AtomicU8) {
    let (mut bytes, mut buffer, mut read) = (Vec::new(), [0; 4_096], 0);
    loop {
        let is = mood.load(Ordering::SeqCst);
        if is == Mood::Closed as u8 || is == Mood::Dies as u8 && read > 3_000 {
            return;
        }
        if is == Mood::Hangs as u8 {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        peer.tcp().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        match peer.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => continue,
            Err(_) => return,
        }
        read += bytes.len();
        while let Some(space) = bytes.iter().position(|b| *b == b' ') {
            let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
            if bytes.len() < space + 1 + length {
                break;
            }
            let message = String::from_utf8(bytes[space + 1..space + 1 + length].to_vec()).unwrap();
            messages.lock().unwrap().push(message);
            bytes.drain(..space + 1 + length);
        }
    }
}

trait AsTcp {
    fn tcp(&self) -> &TcpStream;
}

impl AsTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl AsTcp for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}
