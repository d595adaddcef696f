//! What this process gives away: no core file, and a panic that says where and not what; and who it was at first.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use std::sync::OnceLock;

/// Who started this process, whoever it becomes.
static CALLER: OnceLock<String> = OnceLock::new();

/// Who started this process: its first user, and who logged in, where the system kept that through `su` and `sudo`
/// (credentials(7), `/proc/self/loginuid` in proc(5)).
pub fn caller() -> &'static str {
    CALLER.get_or_init(|| {
        let uid = nix::unistd::Uid::current();
        let login = std::fs::read_to_string("/proc/self/loginuid").ok();
        match login.as_deref().map(str::trim).and_then(|login| login.parse::<u32>().ok()) {
            Some(login) if login != u32::MAX => format!("uid {uid} (logged in as uid {login})"),
            _ => format!("uid {uid}"),
        }
    })
}

/// Switches off core files and tracing by other processes of the user, and keeps values out of panic messages.
pub fn harden() {
    caller();
    // Both are the best that can be had; a system that refuses them still runs relinkd.
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
        crate::telemetry::panicked(&place);
    }));
}
