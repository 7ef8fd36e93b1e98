//! The only file with `unsafe`: the few system calls that the standard library does not offer.
#![expect(unsafe_code, reason = "libc calls; each is checked beside the call")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

/// Write end of the pipe for the signal handler.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: write(2) is async-signal-safe; the descriptor lives as long as the process.
    unsafe { libc::write(SIGNAL_PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

/// Routes SIGTERM, SIGINT and SIGHUP into a pipe and returns its read end: one byte per signal, its number. A handler
/// and not a blocked mask: children inherit a mask and would ignore TERM, while `exec` resets handlers.
pub fn signal_pipe() -> io::Result<std::fs::File> {
    use std::os::fd::FromRawFd;
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for two descriptors.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    SIGNAL_PIPE.store(fds[1], Ordering::Relaxed);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: a zeroed sigaction is valid; the handler only calls write(2).
        let set = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the descriptor is fresh and owned by nobody else.
    Ok(unsafe { std::fs::File::from_raw_fd(fds[0]) })
}

/// Sets umask 077: new files and sockets are accessible to their owner only.
pub fn private_umask() {
    // SAFETY: umask cannot fail.
    unsafe { libc::umask(0o077) };
}

/// Limits the number of malloc arenas (mallopt(3)). glibc gives each thread one and keeps freed memory in them, which
/// wastes memory with dozens of mostly waiting threads.
pub fn few_heaps() {
    // SAFETY: plain integers; elsewhere than with glibc there is nothing to set.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        // Fixed threshold: otherwise one large answer would make malloc keep all later ones in the heap.
        libc::mallopt(libc::M_MMAP_THRESHOLD, 512 << 10)
    };
}

/// Returns free heap memory to the system (malloc_trim(3)). By itself malloc returns only the top of a heap.
pub fn give_back() {
    // SAFETY: a plain integer; it takes the heaps' own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Is this descriptor readable within the given time? True also when a signal interrupts the wait.
pub fn readable(fd: &impl AsRawFd, within: std::time::Duration) -> bool {
    let mut asked = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let ms = libc::c_int::try_from(within.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one pollfd of ours.
    unsafe { libc::poll(&raw mut asked, 1, ms) != 0 }
}

/// Bytes, and the end of what is sent, that the peer of a TCP connection has not acknowledged.
pub fn unacknowledged(socket: &impl AsRawFd) -> io::Result<usize> {
    let mut n: libc::c_int = 0;
    // SAFETY: the request writes one c_int.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut n) } {
        0 => Ok(n.unsigned_abs() as usize),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Disables core dumps and ptrace by other processes of the user: memory holds keys.
pub fn undumpable() {
    // SAFETY: plain integers; a failure changes nothing and is harmless.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Sends a signal to a process group. A missing group is no error.
pub fn kill_group(pgid: u32, signal: i32) {
    // SAFETY: plain integers.
    unsafe { libc::kill(-(pgid as i32), signal) };
}

/// Has this child ended? It stays a zombie, so its pid and group cannot be reused yet.
pub fn has_ended(pid: u32) -> bool {
    // SAFETY: `info` is plain data and large enough; WNOWAIT leaves the child to be reaped by its owner.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, pid, &raw mut info, flags) == 0 && info.si_pid() != 0
    }
}

/// Closes the connection to a vanished peer (no FIN, no RST) after `ms`; the kernel's default is about 15 minutes.
pub fn tcp_user_timeout(socket: &impl AsRawFd, ms: u32) -> io::Result<()> {
    set_option(
        socket.as_raw_fd(),
        libc::IPPROTO_TCP,
        libc::TCP_USER_TIMEOUT,
        ms as libc::c_int,
    )
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is a c_int and its size is given.
    let rc = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Enlarges the accept queue; std uses 128, and in a burst of connections the SYNs beyond it are retransmitted after a
/// second.
pub fn listen_backlog(listener: &impl AsRawFd, backlog: i32) -> io::Result<()> {
    // SAFETY: plain integers; calling listen(2) again on a listening socket only changes the backlog.
    if unsafe { libc::listen(listener.as_raw_fd(), backlog) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The host name; empty if unknown.
pub fn hostname() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the last byte stays NUL.
    match unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) } {
        0 => name
            .split(|b| *b == 0)
            .next()
            .map(String::from_utf8_lossy)
            .unwrap_or_default()
            .into_owned(),
        _ => String::new(),
    }
}

/// Bytes that this user may still write to the file system of `path`, and its size.
pub fn disk(path: &Path) -> io::Result<(u64, u64)> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: a zeroed statvfs is valid and large enough; the path ends with NUL.
    let (rc, found) = unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut found), found)
    };
    match rc {
        0 => Ok((found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Creates a file of this length and reserves its space. A file system without fallocate support only gets the length.
pub fn allocate(file: &std::fs::File, bytes: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: plain integers; the descriptor is open.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(()),
        libc::EINVAL | libc::EOPNOTSUPP => file.set_len(bytes),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Resource usage of this process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Resident memory in bytes.
    pub resident: u64,
    /// CPU time in seconds, user and system, including ended threads.
    pub cpu_s: f64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub files: u64,
}

/// Reads it from /proc (proc_pid_stat(5)). Error: the file has an unexpected form.
pub fn usage() -> io::Result<Usage> {
    let odd = || io::Error::from(io::ErrorKind::InvalidData);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(") ").ok_or_else(odd)?;
    let fields: Vec<u64> = rest.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().ok_or_else(odd);
    let files = std::fs::read_dir("/proc/self/fd")?.count() as u64;
    // SAFETY: plain integers; both names are known on every Linux.
    let (page, tick) = unsafe { (libc::sysconf(libc::_SC_PAGESIZE), libc::sysconf(libc::_SC_CLK_TCK)) };
    Ok(Usage {
        resident: field(24)? * u64::try_from(page).unwrap_or(4_096),
        cpu_s: (field(14)? + field(15)?) as f64 / tick.max(1) as f64,
        threads: field(20)?,
        files: files.saturating_sub(1), // without the descriptor used here
    })
}

/// The effective user id of this process.
pub fn uid() -> u32 {
    // SAFETY: geteuid cannot fail.
    unsafe { libc::geteuid() }
}

/// Gives up root for this user and group, with no way back.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain integers and one group of ours. The user comes last: it may not change groups.
    let done = unsafe {
        libc::setgroups(1, &raw const gid) == 0
            && libc::setresgid(gid, gid, gid) == 0
            && libc::setresuid(uid, uid, uid) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The user at the other end of a Unix socket, as it was when they connected (SO_PEERCRED, unix(7)).
pub fn peer_uid(socket: &std::os::unix::net::UnixStream) -> io::Result<u32> {
    let mut found = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = std::mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers are to a ucred that lives and to its size.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &mut length,
        )
    };
    match failed {
        0 => Ok(found.uid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The name of a user of this machine; the number where it has none.
pub fn user_name(uid: u32) -> String {
    let mut buf = vec![0u8; 4096]; // longer entries are no names that anybody types
    // SAFETY: a zeroed passwd is valid: pointers that are null.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are to live memory of the said size; `found` is null or points to `entry`.
    let failed = unsafe { libc::getpwuid_r(uid, &mut entry, buf.as_mut_ptr().cast(), buf.len(), &mut found) };
    if failed != 0 || found.is_null() || entry.pw_name.is_null() {
        return uid.to_string();
    }
    // SAFETY: getpwuid_r gave a terminated string within `buf`, which lives.
    let name = unsafe { std::ffi::CStr::from_ptr(entry.pw_name) };
    name.to_string_lossy().into_owned()
}

/// Connects to a Unix socket without blocking: `WouldBlock` if its accept queue is full (std would wait).
pub fn connect_unix(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    use std::os::fd::FromRawFd;
    // SAFETY: a zeroed sockaddr_un is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() >= address.sun_path.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, byte) in address.sun_path.iter_mut().zip(bytes) {
        *to = *byte as libc::c_char;
    }
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain integers; the new descriptor is checked and not owned elsewhere.
    let stream = unsafe {
        match libc::socket(libc::AF_UNIX, kind, 0) {
            -1 => return Err(io::Error::last_os_error()),
            fd => std::os::unix::net::UnixStream::from_raw_fd(fd),
        }
    };
    let size = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: the pointer is to a sockaddr_un of ours of this size, and its path ends with NUL.
    if unsafe { libc::connect(stream.as_raw_fd(), (&raw const address).cast(), size) } != 0 {
        return Err(io::Error::last_os_error());
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A socket for echo requests of ICMP, which the kernel lets the groups of `net.ipv4.ping_group_range` have. Its ends are
/// those of a UDP socket; the kernel writes identifier and checksum.
pub fn ping_socket(is_ipv6: bool) -> io::Result<std::net::UdpSocket> {
    use std::os::fd::FromRawFd;
    let (family, protocol) = match is_ipv6 {
        true => (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        false => (libc::AF_INET, libc::IPPROTO_ICMP),
    };
    // SAFETY: plain integers; the new descriptor is checked and not owned elsewhere.
    unsafe {
        match libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(std::net::UdpSocket::from_raw_fd(fd)),
        }
    }
}

/// Is this descriptor a terminal?
pub fn is_tty(fd: &impl AsRawFd) -> bool {
    // SAFETY: plain integer.
    unsafe { libc::isatty(fd.as_raw_fd()) == 1 }
}

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Characters in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl TerminalSize {
    fn of(self) -> libc::winsize {
        libc::winsize {
            ws_row: self.rows,
            ws_col: self.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }
}

/// Opens a new terminal: the controlling side and the program's side. It has the kernel's defaults (echo, canonical
/// mode) and `iutf8`, so that backspace removes a character and not a byte.
pub fn open_terminal(size: TerminalSize) -> io::Result<(std::fs::File, std::fs::File)> {
    use std::os::fd::FromRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    // Not openpty(3): a child that another thread starts in between would inherit its descriptors.
    let ours = std::fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open("/dev/ptmx")?;
    let locked: libc::c_int = 0;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the first ioctl reads a c_int of ours; the second takes plain flags and gives a new descriptor, checked below.
    let fd = unsafe {
        match libc::ioctl(ours.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) {
            0 => libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTPEER, flags),
            _ => -1,
        }
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let theirs = unsafe { std::fs::File::from_raw_fd(fd) };
    let mut mode = terminal_mode(&theirs)?;
    mode.c_iflag |= libc::IUTF8;
    // SAFETY: the pointer is to a termios of ours.
    if unsafe { libc::tcsetattr(fd, libc::TCSANOW, &raw const mode) } != 0 {
        return Err(io::Error::last_os_error());
    }
    resize_terminal(&theirs, size)?;
    Ok((ours, theirs))
}

/// Sets the size of a terminal.
pub fn resize_terminal(terminal: &impl AsRawFd, size: TerminalSize) -> io::Result<()> {
    let size = size.of();
    // SAFETY: the ioctl reads a winsize of ours.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Is this terminal in raw mode (no processing)?
pub fn terminal_is_raw(terminal: &impl AsRawFd) -> bool {
    terminal_mode(terminal).is_ok_and(|mode| mode.c_lflag & (libc::ECHO | libc::ICANON) == 0)
}

/// Sends SIGWINCH to a child that is not reaped yet.
pub fn window_changed(pid: u32) {
    // SAFETY: plain integers.
    unsafe { libc::kill(pid as i32, libc::SIGWINCH) };
}

fn terminal_mode(terminal: &impl AsRawFd) -> io::Result<libc::termios> {
    // SAFETY: a zeroed termios is valid and large enough.
    let (rc, mode) = unsafe {
        let mut mode: libc::termios = std::mem::zeroed();
        (libc::tcgetattr(terminal.as_raw_fd(), &raw mut mode), mode)
    };
    match rc {
        0 => Ok(mode),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs `f` with the terminal's echo off, for typing a password.
pub fn without_echo<T>(f: impl FnOnce() -> T) -> io::Result<T> {
    let fd = libc::STDIN_FILENO;
    let before = terminal_mode(&fd)?;
    let mut quiet = before;
    quiet.c_lflag &= !libc::ECHO;
    // SAFETY: the pointer is to a termios of ours.
    if unsafe { libc::tcsetattr(fd, libc::TCSAFLUSH, &raw const quiet) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let out = f();
    // SAFETY: as above; restores the previous mode.
    unsafe { libc::tcsetattr(fd, libc::TCSAFLUSH, &raw const before) };
    Ok(out)
}
