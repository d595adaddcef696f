//! A running `relinkd run`, timed to its `READY=1`, and what the kernel knows of it.

use crate::support::scratch::Watch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A daemon's process; killed on drop, or when the bench ends.
pub(crate) struct Daemon {
    process: Child,
    started: Instant,
    ready: Receiver<Instant>,
    log: PathBuf,
    _watch: Watch,
}

/// How long it may take to start, also over a slow connection.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);

impl Daemon {
    /// Starts the command, and returns once it is ready.
    pub(crate) fn start(mut command: Command, log: PathBuf, socket: &Path) -> (Self, Duration) {
        let ready = listen(socket);
        command.env("NOTIFY_SOCKET", socket).process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        let process = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let watch = Watch::over(process.id(), Signal::SIGKILL);
        let daemon = Self { process, started, ready, log, _watch: watch };
        let at = daemon.ready.recv_timeout(START_LIMIT);
        let at = at.unwrap_or_else(|_| panic!("the daemon is not ready; its log:\n{}", daemon.log()));
        let took = at - daemon.started;
        (daemon, took)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), signal).unwrap();
    }

    /// SIGTERM, and the wait for its end.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + STOP_LIMIT;
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the daemon does not stop; its log:\n{}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// A size out of `/proc/PID/status`, in MiB: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, name: &str) -> f64 {
        number_of(&PathBuf::from(format!("/proc/{}/status", self.process.id())), name) / 1024.0
    }

    /// Seconds of a processor that it has had so far (proc(5), `schedstat`).
    pub(crate) fn processor_time(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let nanoseconds = tasks.map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse::<f64>().unwrap()
        });
        nanoseconds.sum::<f64>() / 1e9
    }

    /// How often its threads have gone to sleep by themselves so far, which is how often they were woken.
    pub(crate) fn wakes(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        tasks.map(|task| number_of(&task.unwrap().path().join("status"), "voluntary_ctxt_switches")).sum()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A number out of a `status` file of the kernel's.
fn number_of(file: &Path, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).expect(name)
}

/// Receives what the daemon tells systemd, for as long as the bench runs; the moment of `READY=1` comes out.
fn listen(socket: &Path) -> Receiver<Instant> {
    let _ = fs::remove_file(socket);
    let socket = UnixDatagram::bind(socket).unwrap();
    let (sender, ready) = channel();
    std::thread::spawn(move || {
        let mut datagram = [0; 4096];
        while let Ok(length) = socket.recv(&mut datagram) {
            let at = Instant::now();
            if String::from_utf8_lossy(&datagram[..length]).lines().any(|line| line == "READY=1")
                && sender.send(at).is_err()
            {
                return;
            }
        }
    });
    ready
}
