//! A mail server: one that plays a recorded dialogue (`tests/data/smtp`), and one that takes every mail, with STARTTLS and a
//! login, and keeps what it got.

use super::{data, tls_config};
use lamplighter::base::text::base64;
use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// User and password that it knows.
pub const LOGIN: (&str, &str) = ("alerts", "s3cret");

/// One line between client and server, `>` from the client.
type Line = (bool, String);

/// See the module's documentation.
pub struct Smtp {
    pub port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

/// A mail as it went over the wire, dots taken back, and to whom.
#[derive(Debug, Clone)]
pub struct Mail {
    pub from: String,
    pub to: String,
    pub text: String,
}

enum Pipe {
    Plain(BufReader<TcpStream>),
    Tls(Box<BufReader<StreamOwned<ServerConnection, TcpStream>>>),
}

impl Pipe {
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self {
            Pipe::Plain(p) => p.read_until(b'\n', &mut line),
            Pipe::Tls(p) => p.read_until(b'\n', &mut line),
        }
        .ok()?;
        // Whoever sends half lines or lone line feeds is no mail client.
        line.ends_with(b"\r\n")
            .then(|| String::from_utf8(line).unwrap().trim_end_matches("\r\n").to_string())
    }

    fn say(&mut self, text: &str) -> Option<()> {
        match self {
            Pipe::Plain(p) => p.get_mut().write_all(text.as_bytes()),
            Pipe::Tls(p) => p
                .get_mut()
                .write_all(text.as_bytes())
                .and_then(|()| p.get_mut().flush()),
        }
        .ok()
    }

    fn secure(self) -> Pipe {
        let Pipe::Plain(plain) = self else { panic!("TLS in TLS") };
        assert!(plain.buffer().is_empty(), "bytes in front of the handshake");
        let session = ServerConnection::new(tls_config()).unwrap();
        Pipe::Tls(Box::new(BufReader::new(StreamOwned::new(session, plain.into_inner()))))
    }

    /// The text of a mail up to its final dot.
    fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.line()?.as_str() {
                "." => return Some(text),
                line => {
                    text.push_str(line.strip_prefix('.').unwrap_or(line));
                    text.push_str("\r\n");
                }
            }
        }
    }
}

fn serve(each: impl Fn(Pipe) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let each = Arc::new(each);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let each = each.clone();
            thread::spawn(move || {
                let _ = client.set_read_timeout(Some(Duration::from_secs(30)));
                each(Pipe::Plain(BufReader::new(client)));
            });
        }
    });
    port
}

/// The dialogues on record: name, and who says what.
pub fn dialogues() -> Vec<(String, Vec<Line>)> {
    let all: Value = serde_json::from_slice(&data("smtp/dialogues.json")).unwrap();
    let of = |d: &Value| {
        let lines = d["dialogue"].as_array().unwrap().iter();
        let lines = lines.map(|l| (l[0] == ">", l[1].as_str().unwrap().to_string()));
        (d["name"].as_str().unwrap().to_string(), lines.collect())
    };
    all["dialogues"].as_array().unwrap().iter().map(of).collect()
}

impl Smtp {
    /// Plays this dialogue with everybody who comes; hangs up where it ends, or when the client says something else.
    pub fn playing(dialogue: Vec<Line>) -> Smtp {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = heard.clone();
        let port = serve(move |pipe| {
            play(pipe, &dialogue, &kept);
        });
        Smtp { port, heard }
    }

    /// What clients have said, their mails' texts included.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn play(mut pipe: Pipe, dialogue: &[Line], heard: &Mutex<Vec<String>>) -> Option<()> {
    for (from_client, line) in dialogue {
        if *from_client {
            let said = pipe.line()?;
            heard.lock().unwrap().push(said.clone());
            // What the client is called and how large its mail is differs.
            let verb = |l: &str| l.split([' ', ':']).next().unwrap_or_default().to_ascii_lowercase();
            let same = match line.starts_with("AUTH") {
                true => said == *line,
                false => verb(&said) == verb(line),
            };
            if !same {
                return None;
            }
            continue;
        }
        pipe.say(&format!("{line}\r\n"))?;
        if line.contains("Ready to start TLS") {
            pipe = pipe.secure();
        } else if line.starts_with("354") {
            // The end of the record is a link that breaks after the last dot.
            let text = pipe.text()?;
            heard.lock().unwrap().push(text);
        }
    }
    // Its half of the line stays open until the client has had enough.
    pipe.line();
    Some(())
}

/// A server that takes every mail.
pub struct Office {
    pub port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Office {
    /// With STARTTLS and a login, both of which it demands.
    pub fn new() -> Office {
        let mails: Arc<Mutex<Vec<Mail>>> = Arc::default();
        let kept = mails.clone();
        let port = serve(move |pipe| {
            take(pipe, &kept);
        });
        Office { port, mails }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

fn take(mut pipe: Pipe, mails: &Mutex<Vec<Mail>>) -> Option<()> {
    pipe.say("220-office.example.net\r\n220 ESMTP\r\n")?;
    let (mut tls, mut known, mut from, mut to) = (false, false, String::new(), String::new());
    let login = base64(format!("\0{}\0{}", LOGIN.0, LOGIN.1).as_bytes());
    loop {
        let line = pipe.line()?;
        let argument = line.split(['<', '>']).nth(1).unwrap_or_default().to_string();
        let answer = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" if tls => "250-office.example.net\r\n250-SIZE 10485760\r\n250 AUTH PLAIN LOGIN",
            "EHLO" => "250-office.example.net\r\n250 STARTTLS",
            "STARTTLS" => {
                pipe.say("220 go ahead\r\n")?;
                pipe = pipe.secure();
                tls = true;
                continue;
            }
            "AUTH" if !tls => "538 encryption required",
            "AUTH" if line == format!("AUTH PLAIN {login}") => {
                known = true;
                "235 2.7.0 ok"
            }
            "AUTH" => "535 5.7.8 wrong",
            "MAIL" if !known => "530 5.7.0 who are you?",
            "MAIL" => {
                from = argument;
                "250 ok"
            }
            "RCPT" if argument.starts_with("gone@") => "550 5.1.1 no such user",
            "RCPT" => {
                to = argument;
                "250 ok"
            }
            "DATA" => {
                pipe.say("354 go on\r\n")?;
                let text = pipe.text()?;
                mails.lock().unwrap().push(Mail {
                    from: from.clone(),
                    to: to.clone(),
                    text,
                });
                "250 2.0.0 queued as 4F00BA"
            }
            "QUIT" => return pipe.say("221 bye\r\n"),
            _ => "500 what?",
        };
        pipe.say(&format!("{answer}\r\n"))?;
    }
}
