//! A way to the server on which everything takes its time.

use super::Bench;
use super::relinkd::quoted;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// Passes everything on, each piece after this delay, in both directions. Lasts as long as the test's process.
pub(crate) struct SlowWay;

impl SlowWay {
    /// The bench's configuration names it from now on.
    pub(crate) fn start(bench: &Bench, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cluster = bench.db.cluster();
        let server = cluster.socket().join(format!(".s.PGSQL.{}", cluster.port()));
        spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), UnixStream::connect(&server).unwrap());
                client.set_nodelay(true).unwrap();
                let (from_client, to_client) = (client.try_clone().unwrap(), client);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                let ends = (to_client.try_clone().unwrap(), to_server.try_clone().unwrap());
                late(from_client, to_server, delay, move || drop(ends.1.shutdown(Shutdown::Both)));
                late(from_server, to_client, delay, move || drop(ends.0.shutdown(Shutdown::Both)));
            }
        });
        let url =
            format!("postgresql://{}@127.0.0.1:{port}/{}?sslmode=disable", bench.db.role(), bench.db.name());
        bench.set("database.url", &quoted(&url));
        Self
    }
}

fn late(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    delay: Duration,
    end: impl FnOnce() + Send + 'static,
) {
    let (sender, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
    spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if sender.send((Instant::now() + delay, piece[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    spawn(move || {
        for (due, piece) in pieces {
            sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        end();
    });
}
