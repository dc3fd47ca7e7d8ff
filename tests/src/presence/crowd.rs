//! Idle clients in processes of their own: one process may not have as many files open as a gateway has connections.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
};

use futures_util::{StreamExt, stream};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::ABREAST;
use crate::client::{Client, Event};

/// The hidden argument that makes the bench a crowd.
const HOLD: &str = "--hold";
/// What such a process says when all its clients are connected.
const READY: &str = "connected";
/// Connections of one process.
pub const MOST: usize = 8_000;
/// Far away: a crowd ends with its starter.
const LONG: Duration = Duration::from_secs(3600);

/// A process with clients. Killed when dropped.
pub struct Crowd {
    child: Child,
}

impl Crowd {
    /// Starts this very program again, with users `u<first>` and so on; returns when all are connected.
    pub async fn start(address: SocketAddr, first: usize, count: usize) -> Self {
        assert!(count <= MOST, "more than one process may hold");
        let me = env::current_exe().expect("the own path");
        let mut child = Command::new(me)
            .args([HOLD, &address.to_string(), &first.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the own program starts");
        let stdout = child.stdout.take().expect("piped");
        let crowd = Self { child };
        let line = spawn_blocking(|| BufReader::new(stdout).lines().next()).await;
        let line = line.expect("the reader ends").expect("a line").expect("UTF-8");
        assert_eq!(line, READY);
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is this process to be a crowd? Then it is one, until its starter is gone; and this returns true.
pub async fn held() -> bool {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [hold, address, first, count] = &arguments[..] else {
        return false;
    };
    if hold != HOLD {
        return false;
    }
    let address: SocketAddr = address.parse().expect("an address");
    let first: usize = first.parse().expect("a number");
    let count: usize = count.parse().expect("a number");

    let stop = CancellationToken::new();
    let mut idlers = JoinSet::new();
    let mut connecting = stream::iter(first..first + count)
        .map(|i| async move { Client::dev(address, &format!("u{i}")).await })
        .buffer_unordered(ABREAST);
    while let Some(client) = connecting.next().await {
        // At once: whoever waited for long with its pongs would be thrown out.
        idlers.spawn(idle(client, stop.clone()));
    }
    writeln!(std::io::stdout(), "{READY}").expect("the starter reads");
    let (ended, end) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        // Nothing is ever written: the end comes when the starter has ended, however it did.
        let _ = std::io::stdin().read(&mut [0]);
        let _ = ended.send(());
    });
    tokio::select! {
        _ = end => {}
        Some(idler) = idlers.join_next() => idler.expect("a client that stays connected"),
    }
    stop.cancel();
    true
}

/// Reading answers the server's pings, too.
async fn idle(mut client: Client, stop: CancellationToken) {
    let end = Instant::now() + LONG;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            event = client.event_until(end) => match event {
                Some(Event::Frame(_)) => {}
                other => panic!("an idle connection ended: {other:?}"),
            }
        }
    }
}
