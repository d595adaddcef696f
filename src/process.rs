//! What this process gives away: no core file, and a panic that says where and not what.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// Switches off core files and tracing by other processes of the user, and keeps values out of panic messages.
pub fn harden() {
    // Both are the best that can be had; a system that refuses them still runs relinkd.
    let _ = prctl::set_dumpable(false);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
        crate::telemetry::panicked(&place);
    }));
}
