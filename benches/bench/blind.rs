//! The yardstick for latency: the least that could do the job. A trigger notifies with the issue's id, and a listener
//! writes a link without looking at anything: one round trip. It is a process of its own, as relinkd is.

use crate::lab::Lab;
use crate::site::Plain;
use crate::support::BASE;
use crate::support::cluster::BOT;
use crate::support::scratch::Watch;
use nix::sys::signal::Signal;
use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, NoTls};

/// A database with the trigger, and a running listener.
pub(crate) struct Blind {
    pub(crate) plain: Plain,
    process: Child,
    _watch: Watch,
}

impl Blind {
    /// Starts it, and returns once it listens.
    pub(crate) fn start(lab: &Lab) -> Self {
        let plain = Plain::new(lab);
        plain.bot.run(
            "create function blind() returns trigger language plpgsql as
                 $$ begin perform pg_notify('blind', new.id::text); return null; end $$;
             create trigger blind after insert on issues for each row execute function blind()",
        );
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--blind-listener").arg(plain.database.url(BOT));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let watch = Watch::over(process.id(), Signal::SIGKILL);
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n");
        Self { plain, process, _watch: watch }
    }
}

impl Drop for Blind {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Listens and updates until the database goes. As relinkd does, it leaves the flush of a link to the server.
pub(crate) fn listen(target: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, mut connection) = tokio_postgres::connect(target, NoTls).await.unwrap();
        let (sender, mut rings) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(ring) = message {
                    let _ = sender.send(ring.payload().parse::<i32>().unwrap());
                }
            }
        });
        client.batch_execute("set synchronous_commit = off").await.unwrap();
        let link = format!("'{BASE}/login?token=7812-5733-8392-7092&redirect=/issues/' || id");
        let update = format!("update issues set okdesk_url = {link} where id = $1");
        let update = client.prepare(&update).await.unwrap();
        client.batch_execute("listen blind").await.unwrap();
        println!("listening");
        while let Some(issue) = rings.recv().await {
            if client.execute(&update, &[&issue]).await.is_err() {
                return;
            }
        }
    });
}
