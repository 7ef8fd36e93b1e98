//! An ssh server that shows its host key and accepts no login: the part of SSH (RFC 4253, RFC 8731) before the key is
//! verified. It needs no cryptography: `ssh-keyscan` closes the connection once it has the key, `ssh` when the key is not
//! the accepted one, or else at the signature, which is invalid. It can keep clients waiting.

use lamplighter::base::text;
use ring::digest;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// See the module's documentation.
pub struct Door {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    moved: Condvar,
}

/// Behaviour towards logins.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerBehaviour {
    /// An invalid signature, as described above.
    #[default]
    Shows,
    /// Offers only obsolete ciphers.
    Ancient,
    /// Closes the connection in the middle.
    HangsUp,
}

#[derive(Default)]
struct State {
    key: [u8; 32],
    manner: ServerBehaviour,
    shut: bool,
    logins_held: bool,
    gone: bool,
    waiting: usize,
    logins: usize,
}

impl Door {
    /// Shows a key derived from this byte.
    pub fn new(key: u8) -> Door {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                key: [key; 32],
                ..State::default()
            }),
            moved: Condvar::new(),
        });
        let inside = Arc::clone(&shared);
        thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                if inside.state.lock().unwrap().gone {
                    break;
                }
                let inside = Arc::clone(&inside);
                thread::spawn(move || inside.answer(caller));
            }
        });
        Door { port, shared }
    }

    /// From now on clients get no answer.
    pub fn shut(&self) {
        self.change(|s| s.shut = true);
    }

    /// From now on `ssh` waits, while `ssh-keyscan` is answered.
    pub fn hold_logins(&self) {
        self.change(|s| s.logins_held = true);
    }

    /// Answers waiting and new clients.
    pub fn open(&self) {
        self.change(|s| (s.shut, s.logins_held) = (false, false));
    }

    /// Changes the key.
    pub fn rekey(&self, key: u8) {
        self.change(|s| s.key = [key; 32]);
    }

    /// Changes the behaviour.
    pub fn behave(&self, manner: ServerBehaviour) {
        self.change(|s| s.manner = manner);
    }

    /// Number of waiting clients.
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().unwrap().waiting
    }

    /// Number of logins so far.
    pub fn logins(&self) -> usize {
        self.shared.state.lock().unwrap().logins
    }

    /// The key as it stands in a known-hosts file, without the name.
    pub fn key_line(&self) -> String {
        format!("ssh-ed25519 {}", text::base64(&self.blob()))
    }

    /// As OpenSSH writes it.
    pub fn fingerprint(&self) -> String {
        let sum = text::base64(digest::digest(&digest::SHA256, &self.blob()).as_ref());
        format!("SHA256:{}", sum.trim_end_matches('='))
    }

    fn blob(&self) -> Vec<u8> {
        blob(&self.shared.state.lock().unwrap().key)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().unwrap());
        self.shared.moved.notify_all();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.change(|s| s.gone = true);
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let _ = TcpStream::connect_timeout(&at, Duration::from_secs(1)); // wakes the listener
    }
}

impl Shared {
    /// Errors are ignored: clients usually close the connection.
    fn answer(&self, mut caller: TcpStream) -> io::Result<()> {
        self.wait_while(|s| s.shut)?;
        caller.set_read_timeout(Some(Duration::from_secs(20)))?;
        caller.write_all(b"SSH-2.0-Door\r\n")?;
        let mut from = BufReader::new(caller.try_clone()?);
        let mut name = Vec::new();
        from.read_until(b'\n', &mut name)?;
        if !String::from_utf8_lossy(&name).contains("keyscan") {
            self.state.lock().unwrap().logins += 1;
            self.wait_while(|s| s.logins_held)?;
        }
        let (key, manner) = {
            let state = self.state.lock().unwrap();
            (state.key, state.manner)
        };
        show(caller, from, &key, manner)
    }

    fn wait_while(&self, held: impl Fn(&State) -> bool) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        let mut state = self.moved.wait_while(state, |s| held(s) && !s.gone).unwrap();
        state.waiting -= 1;
        if state.gone {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

fn show(mut caller: TcpStream, mut from: impl Read, key: &[u8; 32], manner: ServerBehaviour) -> io::Result<()> {
    let cipher = if manner == ServerBehaviour::Ancient {
        "des-cbc"
    } else {
        "aes128-ctr"
    };
    let mut kexinit = vec![20];
    kexinit.extend_from_slice(&[0; 16]);
    for list in [
        "curve25519-sha256",
        "ssh-ed25519",
        cipher,
        cipher,
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ] {
        string(&mut kexinit, list.as_bytes());
    }
    kexinit.extend_from_slice(&[0; 5]);
    send(&mut caller, &kexinit)?;
    receive(&mut from)?; // their KEXINIT
    if manner == ServerBehaviour::HangsUp {
        return Ok(());
    }
    receive(&mut from)?; // their half of the exchange
    let mut reply = vec![31];
    string(&mut reply, &blob(key));
    string(&mut reply, &[9; 32]);
    let mut signature = Vec::new();
    string(&mut signature, b"ssh-ed25519");
    string(&mut signature, &[7; 64]);
    string(&mut reply, &signature);
    send(&mut caller, &reply)?;
    receive(&mut from)
}

fn blob(key: &[u8; 32]) -> Vec<u8> {
    let mut blob = Vec::new();
    string(&mut blob, b"ssh-ed25519");
    string(&mut blob, key);
    blob
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// RFC 4253 §6: length, padding's length, payload, padding; a multiple of 8 bytes.
fn send(to: &mut TcpStream, payload: &[u8]) -> io::Result<()> {
    let padding = 4 + (8 - (payload.len() + 9) % 8) % 8;
    let mut packet = Vec::new();
    packet.extend_from_slice(&((payload.len() + padding + 1) as u32).to_be_bytes());
    packet.push(padding as u8);
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    to.write_all(&packet)
}

fn receive(from: &mut impl Read) -> io::Result<()> {
    let mut size = [0; 4];
    from.read_exact(&mut size)?;
    let size = u32::from_be_bytes(size).min(64 << 10);
    io::copy(&mut from.take(size.into()), &mut io::sink()).map(drop)
}
