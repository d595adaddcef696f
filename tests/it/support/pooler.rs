//! A real `PgBouncer` in front of a bench's database.

use super::postgres::{as_postgres, free_port, give_to_postgres};
use super::relinkd::quoted;
use super::scratch::Watch;
use super::{Bench, Session};
use nix::sys::signal::Signal;
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use tokio_postgres::Config;

/// A pooler's process. Killed on drop, or by the guardian.
pub(crate) struct Pooler {
    process: Child,
    target: Config,
    _watch: Watch,
}

impl Pooler {
    /// One that lends this many server sessions, each for a `session`, a `transaction` or a `statement`. The bench's
    /// configuration names it from now on.
    pub(crate) fn start(bench: &Bench, mode: &str, size: u32) -> Self {
        let mut programs = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().map(Path::new);
        let program = programs.find(|path| path.exists());
        let program = program.expect("no PgBouncer: install it (apt-get install pgbouncer)");
        let directory = bench.path(&format!("pooler-{mode}"));
        fs::create_dir(&directory).unwrap();
        give_to_postgres(&directory);
        let (db, cluster, port) = (&bench.db, bench.db.cluster(), free_port());
        fs::write(directory.join("users.txt"), format!("\"{}\" \"\"\n", db.role())).unwrap();
        let config = format!(
            "[databases]\n{name} = host={host} port={server_port} dbname={name}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = {mode}\ndefault_pool_size = {size}\nlogfile = {log}\n",
            name = db.name(),
            host = cluster.socket().display(),
            server_port = cluster.port(),
            users = directory.join("users.txt").display(),
            log = directory.join("log").display(),
        );
        fs::write(directory.join("pgbouncer.ini"), config).unwrap();
        let mut command = as_postgres(program, &directory);
        command.arg("pgbouncer.ini").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let watch = Watch::over(process.id(), Signal::SIGKILL);
        bench.wait_until("the pooler listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        bench.set(
            "database.url",
            &quoted(&format!("postgresql://{}@127.0.0.1:{port}/{}?sslmode=disable", db.role(), db.name())),
        );
        let mut target = Config::new();
        target.host("127.0.0.1").port(port).user(db.role()).dbname(db.name());
        Self { process, target, _watch: watch }
    }

    /// A session of somebody else's who shares the daemon's pool.
    pub(crate) fn connect(&self) -> Session {
        Session::connect(&self.target).unwrap()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
