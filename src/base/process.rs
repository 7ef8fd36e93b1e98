//! Child processes: the only place that starts one. A program is named without path and found in `/usr/bin` or `/bin`;
//! arguments are an array, the environment is exactly what is given, no shell is involved. Each child leads its own
//! process group; dropping its [`Running`] kills the whole group and reaps the child.
//!
//! One reader thread per stream passes its bytes on; they arrive in order on the caller's thread. The queue between is
//! bounded: a child that writes too fast is blocked. [`LineReader`] splits the bytes into bounded lines.

use super::clock::{self, Duration, Instant};
use super::error::{Error, Kind, Result};
use super::lines::{self, Lines};
use super::secret::Secret;
use super::sys::{self, TerminalSize};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Bytes per read.
const CHUNK: usize = 16 * 1024;
/// Chunks that may wait for the caller: 256 KiB. More than that stays in the child's pipe.
const QUEUE_CHUNKS: usize = 16;
/// How often the child's exit is checked while its streams are silent: a grandchild may hold them open after it.
const LOOK: Duration = Duration::from_millis(200);
/// Time between TERM and KILL.
const GRACE: Duration = Duration::from_millis(500);

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What to start.
pub struct Program<'a> {
    /// A bare name such as `ssh`.
    pub name: &'static str,
    /// The arguments after the name.
    pub args: Vec<OsString>,
    /// The whole environment, besides `PATH=/usr/bin:/bin` and `LANG=C.UTF-8`.
    pub env: Vec<(&'static str, OsString)>,
    /// The working folder; `/` when there is none.
    pub dir: Option<&'a Path>,
}

/// The next event: bytes from [`Running::next`], or a line without its end from [`LineReader::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// The child wrote this.
    Output(Stream, T),
    /// Both streams have ended.
    End,
    /// The caller's [`Cancel`] was triggered.
    Cancelled,
    /// The caller's deadline has passed.
    Late,
}

/// The result of [`run`].
#[derive(Debug)]
pub struct Output {
    /// Exit code; -1 when a signal ended it.
    pub rc: i32,
    /// All of stdout, lines ended by LF.
    pub stdout: String,
    /// All of stderr, lines ended by LF.
    pub stderr: String,
}

/// Runs a program to its end with `input` on stdin, and keeps up to `size_max` bytes of its output; the rest is
/// dropped. Errors: `missing_program`, `cancelled`, `deadline`.
pub fn run(program: Program, input: &[u8], limit: Duration, size_max: usize, cancel: &Cancel) -> Result<Output> {
    let until = clock::mono() + limit;
    let name = program.name;
    let mut running = Running::start(program)?;
    running.send(input);
    running.close();
    let (mut stdout, mut stderr, mut cap) = (String::new(), String::new(), Cap::new(size_max));
    let mut lines = LineReader::new(lines::LINE_MAX);
    loop {
        match lines.next(&mut running, until, cancel) {
            Event::Output(stream, line) => {
                if let Some(line) = cap.admit(&line) {
                    let text = if stream == Stream::Stdout {
                        &mut stdout
                    } else {
                        &mut stderr
                    };
                    text.push_str(line);
                    text.push('\n');
                }
            }
            Event::End => break,
            Event::Cancelled => return Err(cancelled()),
            Event::Late => return Err(late(name)),
        }
    }
    let left = until.saturating_duration_since(clock::mono());
    match running.exited_within(left) {
        Some(status) => Ok(Output {
            rc: status.code().unwrap_or(-1),
            stdout,
            stderr,
        }),
        None => Err(late(name)),
    }
}

/// Error `cancelled`: the [`Cancel`] was triggered.
pub fn cancelled() -> Error {
    Error::new(Kind::Conflict, "cancelled", "This was cancelled.")
}

fn late(name: &str) -> Error {
    Error::new(
        Kind::Timeout,
        "deadline",
        format!("“{name}” did not finish in the time it had and was ended."),
    )
}

/// A child process with its streams.
pub struct Running {
    child: Child,
    status: Option<ExitStatus>,
    /// Queued input may be a password: zeroed after it is written.
    stdin: Option<Sender<Secret>>,
    queued: Arc<AtomicUsize>,
    events: Receiver<Message>,
    wake: SyncSender<Message>,
    /// Streams that have not ended.
    open: usize,
    /// Our side of the child's terminal, if it was given one.
    terminal: Option<Arc<Screen>>,
}

struct Screen {
    terminal: File,
    /// The size has changed and the child has not been signalled yet.
    resized: AtomicBool,
}

enum Message {
    Chunk(Stream, Vec<u8>),
    Closed,
    Wake,
}

impl Running {
    /// Starts a program with a pipe for each stream. Error `missing_program` if it is not installed.
    pub fn start(program: Program) -> Result<Running> {
        let mut child = spawn(program, Stdio::piped(), Stdio::piped())?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Running::attach(child, stdin, stdout, None)
    }

    /// Starts a program with a terminal as stdin and stdout and a pipe for stderr. It is not the controlling terminal,
    /// so typed characters do not become signals. Errors: `missing_program`; `internal` when no terminal can be opened.
    pub fn start_on_terminal(program: Program, size: TerminalSize) -> Result<Running> {
        let told = |e| Error::internal(format!("a terminal: {e}"));
        let (ours, theirs) = sys::open_terminal(size).map_err(told)?;
        let stdin = theirs.try_clone().map_err(told)?;
        let child = spawn(program, stdin.into(), theirs.into())?;
        let copy = || ours.try_clone().map_err(told);
        let (stdin, stdout) = (copy()?, copy()?);
        let screen = Screen {
            terminal: ours,
            resized: AtomicBool::new(false),
        };
        Running::attach(child, Some(stdin), Some(stdout), Some(Arc::new(screen)))
    }

    fn attach(
        mut child: Child,
        mut to: Option<impl Write + Send + 'static>,
        stdout: Option<impl Read + Send + 'static>,
        terminal: Option<Arc<Screen>>,
    ) -> Result<Running> {
        let queued = Arc::new(AtomicUsize::new(0));
        let (wake, events) = mpsc::sync_channel(QUEUE_CHUNKS);
        let (stdin, chunks) = mpsc::channel::<Secret>();
        let stderr = child.stderr.take();
        let running = Running {
            child,
            status: None,
            stdin: Some(stdin),
            queued: queued.clone(),
            events,
            wake: wake.clone(),
            open: 2,
            terminal,
        };
        // From here on a failure drops `running`, which ends the child.
        if let Some(from) = stdout {
            let to = wake.clone();
            thread("stdout", move || read(from, Stream::Stdout, &to))?;
        }
        if let Some(from) = stderr {
            thread("stderr", move || read(from, Stream::Stderr, &wake))?;
        }
        // A thread of its own: a child that does not read would otherwise hold the caller beyond its deadline.
        thread("stdin", move || {
            while let (Ok(chunk), Some(to)) = (chunks.recv(), to.as_mut()) {
                let bytes = chunk.reveal_for("a program's stdin");
                if to.write_all(bytes).is_err() {
                    return; // closed by the child: its exit code tells why
                }
                queued.fetch_sub(bytes.len(), Ordering::Relaxed);
            }
        })?;
        Ok(running)
    }

    /// A handle to write to the terminal and resize it, for another thread.
    pub fn keyboard(&self) -> Keyboard {
        Keyboard {
            stdin: self.stdin.clone(),
            queued: self.queued.clone(),
            screen: self.terminal.clone(),
            wake: self.wake.clone(),
        }
    }

    /// Is the terminal in raw mode, so that input passes unchanged and is not echoed?
    pub fn terminal_is_raw(&self) -> bool {
        let screen = self.terminal.as_ref();
        screen.is_some_and(|screen| sys::terminal_is_raw(&screen.terminal))
    }

    /// Queues bytes for stdin. Never blocks; after [`Running::close`] they are dropped.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &self.stdin {
            self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
            let _ = stdin.send(Secret::new(bytes)); // fails when the child has closed it: its exit code tells why
        }
    }

    /// Ends its stdin after what is queued.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// Waits for the next bytes, the end, `until` or cancellation.
    pub fn next(&mut self, until: Instant, cancel: &Cancel) -> Event<Vec<u8>> {
        let wake = self.wake.clone();
        let _watch = cancel.watch(move || drop(wake.try_send(Message::Wake))); // a full queue wakes as well
        let mut exited = false;
        loop {
            self.set_size();
            let left = until.saturating_duration_since(clock::mono());
            if cancel.is_cancelled() {
                return Event::Cancelled;
            } else if self.open == 0 {
                return Event::End;
            } else if left.is_zero() {
                return Event::Late;
            }
            match self.events.recv_timeout(left.min(LOOK)) {
                Ok(Message::Chunk(stream, bytes)) => return Event::Output(stream, bytes),
                Ok(Message::Closed) => self.open -= 1,
                Ok(Message::Wake) => {}
                Err(RecvTimeoutError::Disconnected) => self.open = 0,
                // The child has ended and its streams have been silent since the last check: whoever holds them is not
                // our child.
                Err(RecvTimeoutError::Timeout) if exited => self.open = 0,
                Err(RecvTimeoutError::Timeout) => exited = self.exited().is_some(),
            }
        }
    }

    /// The kernel signals a new size only to a controlling terminal's process group.
    fn set_size(&mut self) {
        let changed = |screen: &Arc<Screen>| screen.resized.swap(false, Ordering::Relaxed);
        if self.terminal.as_ref().is_some_and(changed) && self.exited().is_none() {
            sys::window_changed(self.child.id());
        }
    }

    /// Its exit status, if it ends within `limit`.
    pub fn exited_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = clock::mono() + limit;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.exited() {
                return Some(status);
            }
            if clock::mono() >= until {
                return None;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() && sys::has_ended(self.child.id()) {
            // Until the child is reaped, its pid and group cannot be reused; afterwards they may.
            sys::kill_group(self.child.id(), KILL);
            self.status = self.child.wait().ok();
        }
        self.status
    }
}

/// Input of a child on a terminal.
#[derive(Clone)]
pub struct Keyboard {
    stdin: Option<Sender<Secret>>,
    queued: Arc<AtomicUsize>,
    screen: Option<Arc<Screen>>,
    wake: SyncSender<Message>,
}

/// Limit of queued input in bytes.
const TYPED_MAX: usize = 64 * 1024;

impl Keyboard {
    /// Queues input; `false` when the child does not keep up: then nothing of it is taken.
    pub fn send(&self, bytes: &[u8]) -> bool {
        let before = self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        let taken = before + bytes.len() <= TYPED_MAX
            && self
                .stdin
                .as_ref()
                .is_some_and(|stdin| stdin.send(Secret::new(bytes)).is_ok());
        if !taken {
            self.queued.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        taken
    }

    /// Changes the size of the terminal. The thread in [`Running::next`] signals the child. Error: the ioctl failed.
    pub fn resize(&self, size: TerminalSize) -> Result<()> {
        if let Some(screen) = &self.screen {
            sys::resize_terminal(&screen.terminal, size)?;
            screen.resized.store(true, Ordering::Relaxed);
            drop(self.wake.try_send(Message::Wake)); // a full queue wakes as well
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
        if self.exited().is_none() {
            sys::kill_group(self.child.id(), TERM);
            if self.exited_within(GRACE).is_none() {
                sys::kill_group(self.child.id(), KILL);
                let _ = self.child.wait();
            }
        }
    }
}

/// Signal numbers of `signal(7)`, the same on all Linux architectures used.
const TERM: i32 = 15;
const KILL: i32 = 9;

fn find(name: &'static str) -> Result<PathBuf> {
    ["/usr/bin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| !name.contains('/') && path.is_file())
        .ok_or_else(|| {
            Error::new(
                Kind::Config,
                "missing_program",
                format!("“{name}” is not installed on Lamplighter's own machine: neither /usr/bin nor /bin has it."),
            )
        })
}

fn spawn(program: Program, stdin: Stdio, stdout: Stdio) -> Result<Child> {
    let path = find(program.name)?;
    Command::new(&path)
        .args(program.args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .envs(program.env)
        .current_dir(program.dir.unwrap_or(Path::new("/")))
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| Error::internal(format!("{}: {e}", path.display())))
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    match thread::Builder::new().name(name.into()).spawn(body) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::new(
            Kind::Busy,
            "busy",
            "There is no room for one more process now. Try again.",
        )
        .log(e)),
    }
}

fn read(mut from: impl Read, stream: Stream, to: &SyncSender<Message>) {
    let mut buffer = [0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            // Fails when the caller has gone; the child is being ended then.
            Ok(n) => drop(to.send(Message::Chunk(stream, buffer[..n].to_vec()))),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break, // EIO of a terminal: the other side is closed
        }
    }
    let _ = to.send(Message::Closed);
}

/// Splits the output of a child into bounded lines, each stream separately.
pub struct LineReader {
    cutters: [Lines; 2],
    ready: VecDeque<(Stream, String)>,
    /// A last line without an end counts as a line. Set it to `false` where a partial line must not be used.
    pub keep_partial: bool,
}

impl LineReader {
    /// Lines of at most `line_max` bytes; longer ones are cut.
    pub fn new(line_max: usize) -> LineReader {
        LineReader {
            cutters: [Lines::new(line_max), Lines::new(line_max)],
            ready: VecDeque::new(),
            keep_partial: true,
        }
    }

    /// Waits for the next line of `from`, the end, `until` or cancellation.
    pub fn next(&mut self, from: &mut Running, until: Instant, cancel: &Cancel) -> Event<String> {
        loop {
            if cancel.is_cancelled() {
                return Event::Cancelled;
            } else if !self.ready.is_empty() && clock::mono() >= until {
                return Event::Late;
            } else if let Some((stream, line)) = self.ready.pop_front() {
                return Event::Output(stream, line);
            }
            let ready = &mut self.ready;
            match from.next(until, cancel) {
                Event::Output(stream, bytes) => {
                    self.cutters[stream as usize].push(&bytes, &mut |line| ready.push_back((stream, line)));
                }
                Event::End => {
                    for (stream, cutter) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.cutters) {
                        cutter.end(&mut |line| ready.extend(self.keep_partial.then_some((stream, line))));
                    }
                    if ready.is_empty() {
                        return Event::End;
                    }
                }
                Event::Cancelled => return Event::Cancelled,
                Event::Late => return Event::Late,
            }
        }
    }
}

/// Passes this many bytes of lines, then one line that says that more was dropped, then nothing.
pub struct Cap {
    left: usize,
    told: bool,
}

/// The last line of an output that exceeded its limit.
pub const TRUNCATED: &str = "… (more output was dropped)";

impl Cap {
    /// A limit of `size_max` bytes; a line end counts as one.
    pub fn new(size_max: usize) -> Cap {
        Cap {
            left: size_max,
            told: false,
        }
    }

    /// What to keep of this line.
    pub fn admit<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        match self.left.checked_sub(line.len() + 1) {
            Some(left) if !self.told => {
                self.left = left;
                Some(line)
            }
            _ if self.told => None,
            _ => {
                self.told = true;
                Some(TRUNCATED)
            }
        }
    }
}

/// A cancellation token: may be triggered once by any holder. Clones share its state.
#[derive(Clone, Default)]
pub struct Cancel(Arc<(Mutex<Cord>, Condvar)>);

#[derive(Default)]
struct Cord {
    pulled: bool,
    next: u64,
    watchers: Vec<(u64, Box<dyn Fn() + Send>)>,
}

impl Cancel {
    /// A token that is not triggered.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Triggers it and wakes all waiters.
    pub fn cancel(&self) {
        let mut cord = self.cord();
        cord.pulled = true;
        cord.watchers.iter().for_each(|(_, wake)| wake());
        self.0.1.notify_all();
    }

    /// Was it triggered?
    pub fn is_cancelled(&self) -> bool {
        self.cord().pulled
    }

    /// Sleeps for `limit` or until it is triggered: then `true`.
    pub fn wait(&self, limit: Duration) -> bool {
        let until = clock::mono() + limit;
        let mut cord = self.cord();
        while !cord.pulled {
            let left = until.saturating_duration_since(clock::mono());
            if left.is_zero() {
                return false;
            }
            cord = self
                .0
                .1
                .wait_timeout(cord, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Calls `wake` when it is triggered, as long as the returned guard lives; not if it was triggered before. `wake`
    /// must not block.
    pub fn watch(&self, wake: impl Fn() + Send + 'static) -> Watch {
        let mut cord = self.cord();
        cord.next += 1;
        let id = cord.next;
        cord.watchers.push((id, Box::new(wake)));
        Watch(self.clone(), id)
    }

    fn cord(&self) -> std::sync::MutexGuard<'_, Cord> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Guard of [`Cancel::watch`]: dropping it ends the callback.
pub struct Watch(Cancel, u64);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.cord().watchers.retain(|(id, _)| *id != self.1);
    }
}
