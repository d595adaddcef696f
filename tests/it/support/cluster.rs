//! A private Postgres cluster: initialised, started and stopped here, under the scratch directory.
//!
//! One is shared by all tests of a process; a test that stops the server or needs settings that only a
//! start can change has one of its own. Postgres refuses to run as root, so root hands it to `postgres`.

use super::postgres::{
    as_postgres, copy_template, find_binaries, free_port, give_to_postgres, make_certificates,
};
use super::scratch::{self, Watch};
use super::session::Session;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::Config;

/// The cluster's superuser.
pub(crate) const SUPERUSER: &str = "postgres";
/// The bot's role, as in the field: it owns the database and the tables.
pub(crate) const BOT: &str = "okdesk_user";

const START_LIMIT: Duration = Duration::from_secs(60);

/// What a cluster of a test's own is started with. By default as the shared one: unix socket only, trust.
#[derive(Default)]
pub(crate) struct ClusterOptions {
    settings: Vec<(String, String)>,
    tcp: bool,
    tls: bool,
    host_method: Option<String>,
}

impl ClusterOptions {
    /// A line of postgresql.conf; the value is quoted here.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Listens on 127.0.0.1 too, on a free port.
    pub(crate) fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// TCP with a certificate for `localhost` and 127.0.0.1, see [`Cluster::authority`].
    pub(crate) fn tls(mut self) -> Self {
        self.tls = true;
        self.tcp()
    }

    /// How TCP clients prove who they are, `scram-sha-256` for one; `trust` by default. The socket always trusts.
    pub(crate) fn host_method(mut self, method: &str) -> Self {
        self.host_method = Some(method.to_owned());
        self
    }
}

/// How a server is told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Waits for every session to end by itself.
    Smart,
    /// Ends sessions and rolls back.
    Fast,
    /// As a crash: no shutdown checkpoint, recovery at the next start.
    Immediate,
}

/// A Postgres cluster with the bot's role in it. Stopped and removed on drop, or by the guardian.
pub(crate) struct Cluster {
    directory: TempDir,
    binaries: PathBuf,
    port: u16,
    server: Mutex<Option<Server>>,
}

struct Server {
    postgres: Child,
    watch: Watch,
}

impl Cluster {
    /// The one that tests share, started by whoever comes first.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Cluster>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Self::start(&ClusterOptions::default())))
    }

    /// A new cluster, initialised and answering.
    pub(crate) fn start(options: &ClusterOptions) -> Arc<Self> {
        let directory = scratch::directory();
        assert!(
            directory.path().as_os_str().len() < 80,
            "{} is too long for a socket's directory: set TMPDIR to a shorter one",
            directory.path().display()
        );
        let port = if options.tcp { free_port() } else { 5432 };
        let cluster = Self { directory, binaries: find_binaries(), port, server: Mutex::new(None) };
        cluster.initialise(options);
        cluster.resume();
        let admin = Session::connect(&cluster.target(SUPERUSER, "postgres")).unwrap();
        admin.execute(&format!("create role {BOT} login"));
        Arc::new(cluster)
    }

    /// The directory of the unix socket.
    pub(crate) fn socket(&self) -> &Path {
        self.directory.path()
    }

    /// The port, of the socket's name and of TCP where that was asked for.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that signed the server's, for `sslrootcert`.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.crt")
    }

    /// How to reach a database here over the socket.
    pub(crate) fn target(&self, role: &str, database: &str) -> Config {
        let mut target = Config::new();
        target.host_path(self.socket()).port(self.port).user(role).dbname(database);
        target
    }

    /// The same as a URI for `database.url`, `--admin-url` and psql.
    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}@/{database}?host={}&port={}", self.socket().display(), self.port)
    }

    /// All that the server has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// What it logged of sessions in this database whose `application_name` is none of `except`, whole
    /// records with their continuation lines.
    pub(crate) fn log_of(&self, database: &str, except: &[&str]) -> String {
        let mut wanted = false;
        let mut found = String::new();
        for line in self.log().lines() {
            if line.starts_with(|first: char| first.is_ascii_digit()) {
                let own = except.iter().any(|name| line.contains(&format!("@{database}/{name} ")));
                wanted = line.contains(&format!("@{database}/")) && !own;
            }
            if wanted {
                writeln!(found, "{line}").unwrap();
            }
        }
        found
    }

    /// Changes a setting that a reload can change, and waits until new sessions have it.
    pub(crate) fn reload_with(&self, name: &str, value: &str) {
        let fresh = || Session::connect(&self.target(SUPERUSER, "postgres")).unwrap();
        let loaded = || fresh().value("select pg_conf_load_time()");
        let before = loaded();
        fresh().execute(&format!("alter system set {name} = '{value}'"));
        fresh().execute("select pg_reload_conf()");
        super::wait_until(&format!("{name} = {value}"), || loaded() != before);
    }

    /// Stops the server and waits until it is gone; nothing where it is stopped already.
    pub(crate) fn stop(&self, how: Stop) {
        let Some(mut server) = self.server.lock().unwrap().take() else { return };
        let signal = match how {
            Stop::Smart => Signal::SIGTERM,
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
        };
        kill(pid_of(&server.postgres), signal).unwrap();
        server.postgres.wait().unwrap();
    }

    /// Starts the stopped server again, on the same socket and port, and waits until it answers.
    pub(crate) fn resume(&self) {
        let mut server = self.server.lock().unwrap();
        assert!(server.is_none(), "the server runs already");
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = as_postgres(&self.binaries.join("postgres"), self.directory.path());
        command.arg("-D").arg(self.data()).process_group(0).stderr(log).stdout(Stdio::null());
        let postgres = command.stdin(Stdio::null()).spawn().unwrap();
        let watch = Watch::over(postgres.id(), Signal::SIGQUIT);
        let started = server.insert(Server { postgres, watch });
        let deadline = Instant::now() + START_LIMIT;
        while let Err(error) = Session::connect(&self.target(SUPERUSER, "postgres")) {
            let gone = started.postgres.try_wait().unwrap().is_some();
            assert!(
                !gone && Instant::now() < deadline,
                "Postgres did not start ({error}); its log:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// [`Cluster::stop`] and [`Cluster::resume`].
    pub(crate) fn restart(&self, how: Stop) {
        self.stop(how);
        self.resume();
    }

    fn initialise(&self, options: &ClusterOptions) {
        give_to_postgres(self.directory.path());
        copy_template(&self.binaries, &self.data());
        if options.tls {
            make_certificates(self.directory.path());
        }
        self.write_settings(options);
        let host_method = options.host_method.as_deref().unwrap_or("trust");
        let rules = format!(
            "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 {host_method}\n"
        );
        fs::write(self.data().join("pg_hba.conf"), rules).unwrap();
    }

    fn write_settings(&self, options: &ClusterOptions) {
        let directory = self.directory.path().display();
        let mut text = format!(
            "unix_socket_directories = '{directory}'\nport = {}\nlisten_addresses = '{}'\n\
             max_connections = 300\nshared_buffers = '64MB'\n\
             # A crash of the server loses nothing without fsync, only one of the machine does.\n\
             fsync = off\nfull_page_writes = off\n\
             log_line_prefix = '%m [%p] %q%u@%d/%a '\ntimezone = 'UTC'\nlog_timezone = 'UTC'\n",
            self.port,
            if options.tcp { "127.0.0.1" } else { "" },
        );
        if options.tls {
            writeln!(text, "ssl = on\nssl_cert_file = '{directory}/server.crt'").unwrap();
            writeln!(text, "ssl_key_file = '{directory}/server.key'").unwrap();
        }
        for (name, value) in &options.settings {
            writeln!(text, "{name} = '{}'", value.replace('\'', "''")).unwrap();
        }
        fs::write(self.data().join("postgresql.conf"), text).unwrap();
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}
