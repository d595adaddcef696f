//! What this process gives away: no core file, and a panic that says where and not what; and who it was at first.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Uid, User};
use std::sync::OnceLock;

/// Who started this process, whoever it becomes.
static CALLER: OnceLock<String> = OnceLock::new();

/// The user that this process had at first.
static FIRST_UID: OnceLock<Uid> = OnceLock::new();

/// Who started this process: its first user, and who logged in, where the system kept that through `su` and `sudo`
/// (credentials(7), `/proc/self/loginuid` in proc(5)).
pub(crate) fn caller() -> &'static str {
    CALLER.get_or_init(|| {
        let uid = Uid::current();
        match login_uid() {
            Some(login) => format!("uid {uid} (logged in as uid {login})"),
            None => format!("uid {uid}"),
        }
    })
}

/// Who logged in, behind `su` and `sudo`: the user's name, or its number where it has none.
pub(crate) fn login() -> String {
    let uid = login_uid().map_or_else(|| *FIRST_UID.get_or_init(Uid::current), Uid::from_raw);
    user_name(uid.as_raw())
}

/// The name of a user, or its number where it has none.
pub(crate) fn user_name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn login_uid() -> Option<u32> {
    let login = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    login.trim().parse::<u32>().ok().filter(|login| *login != u32::MAX)
}

/// The name of this machine's time zone, as in `Europe/Moscow`: of `TZ`, else of what /etc/localtime is a link to
/// (localtime(5)).
pub(crate) fn time_zone() -> Option<String> {
    if let Ok(zone) = std::env::var("TZ") {
        return Some(zone.trim_start_matches(':').to_owned());
    }
    let link = std::fs::read_link("/etc/localtime").ok()?;
    link.to_str()?.split_once("/zoneinfo/").map(|(_, zone)| zone.to_owned())
}

/// Switches off core files and tracing by other processes of the user, and keeps values out of panic messages.
pub(crate) fn harden() {
    caller();
    FIRST_UID.get_or_init(Uid::current);
    // Both are the best that can be had; a system that refuses them still runs relinkd.
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
        crate::telemetry::panicked(&place);
        // A daemon without one of its tasks would look alive; systemd starts it again.
        std::process::exit(1);
    }));
}
