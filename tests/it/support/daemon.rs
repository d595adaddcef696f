//! A running `relinkd run`: started as systemd starts it, watched over its notify socket, never left behind.

use super::scratch::Watch;
use super::{PATIENCE, holds_soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What SIGTERM is given to end the daemon (contract).
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A daemon's process. Killed on drop, or by the guardian.
pub(crate) struct Daemon {
    process: Child,
    log: PathBuf,
    notices: Notices,
    watch: Watch,
}

impl Daemon {
    /// Starts the command with its standard error in `log` and a notify socket at `socket`.
    pub(crate) fn spawn(mut command: Command, log: PathBuf, socket: &std::path::Path) -> Self {
        let notices = Notices::listen(socket);
        let process = command
            .env("NOTIFY_SOCKET", socket)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let watch = Watch::over(process.id(), Signal::SIGKILL);
        Self { process, log, notices, watch }
    }

    /// Waits for `READY=1`.
    pub(crate) fn wait_ready(&mut self) {
        let process = &mut self.process;
        let mut exit = None;
        let ready = holds_soon(|| {
            exit = process.try_wait().unwrap();
            exit.is_some() || self.notices.said("READY=1")
        });
        assert!(
            exit.is_none(),
            "the daemon ended before it was ready, {}; its log:\n{}",
            exit.unwrap(),
            self.log()
        );
        assert!(ready, "the daemon is not ready within {PATIENCE:?}; its log:\n{}", self.log());
    }

    /// SIGTERM; it must end within 5 s, with exit status 0.
    pub(crate) fn stop(mut self) {
        let asked = Instant::now();
        self.signal(Signal::SIGTERM);
        let code = self.wait_exit();
        let took = asked.elapsed();
        assert_eq!(code, Some(0), "SIGTERM is a clean end; the log:\n{}", self.log());
        assert!(took < STOP_LIMIT, "stopping took {took:?}; the log:\n{}", self.log());
    }

    /// SIGKILL, as a crash.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGHUP: config and keyring are read again.
    pub(crate) fn hup(&self) {
        self.signal(Signal::SIGHUP);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Waits for its end; the exit status, `None` where a signal ended it.
    pub(crate) fn wait_exit(&mut self) -> Option<i32> {
        let process = &mut self.process;
        let mut exit = None;
        holds_soon(|| {
            exit = process.try_wait().unwrap();
            exit.is_some()
        });
        exit.unwrap_or_else(|| panic!("the daemon runs on after {PATIENCE:?}; its log:\n{}", self.log()))
            .code()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Every line it sent to the notify socket so far, `READY=1`, `STATUS=…`, `WATCHDOG=1` and the like.
    pub(crate) fn notices(&self) -> Vec<String> {
        self.notices.lines.lock().unwrap().clone()
    }

    /// Waits until its log holds this text.
    pub(crate) fn wait_log(&self, text: &str) {
        assert!(holds_soon(|| self.log().contains(text)), "{text:?} is not logged; the log:\n{}", self.log());
    }

    /// Waits until it sent a line with this text to the notify socket.
    pub(crate) fn wait_notice(&self, text: &str) {
        let said = holds_soon(|| self.notices().iter().any(|line| line.contains(text)));
        assert!(said, "{text:?} is not notified, but {:?}; the log:\n{}", self.notices(), self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|exit| exit.is_none()) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// The receiving end of `sd_notify(3)`. Always drained: a full socket would hold the daemon up.
struct Notices {
    lines: Arc<Mutex<Vec<String>>>,
    enough: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Notices {
    fn listen(path: &std::path::Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let enough = Arc::new(AtomicBool::new(false));
        let (heard, stop) = (Arc::clone(&lines), Arc::clone(&enough));
        let reader = std::thread::spawn(move || {
            let mut datagram = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut datagram) {
                    let text = String::from_utf8_lossy(&datagram[..length]);
                    heard.lock().unwrap().extend(text.lines().map(str::to_owned));
                }
            }
        });
        Self { lines, enough, reader: Some(reader) }
    }

    fn said(&self, line: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|said| said == line)
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
