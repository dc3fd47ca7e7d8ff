//! One worker, seen from whoever gives the orders.

use std::{
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, duplex},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::Ticks;
use crate::drive::{plan::Event, worker::work};

/// Of a pipe within this process.
const PIPE: usize = 64 << 10;
/// Lines that wait for the pipe: the plan, and orders that were given up.
const LINES: usize = 16;
/// From the end of a process' output to its own.
const BURIAL: Duration = Duration::from_secs(2);

pub struct Worker {
    number: usize,
    orders: mpsc::Sender<Vec<u8>>,
    events: mpsc::Receiver<Event>,
    /// Orders without an answer yet.
    owed: AtomicUsize,
    /// Its process, and the id; the process ends with this.
    child: Option<(Child, u32)>,
    /// Its end was told already.
    buried: bool,
}

impl Worker {
    pub fn within(ticks: Ticks, ended: CancellationToken) -> Self {
        let (orders, theirs) = duplex(PIPE);
        let (events, told) = duplex(PIPE);
        tokio::spawn(async move {
            if let Err(error) = work(theirs, told).await {
                eprintln!("the worker failed: {error:#}");
            }
        });
        Self::new(0, write(orders), listen(0, events, ticks, ended), None)
    }

    pub fn child(number: usize, ticks: Ticks, ended: CancellationToken) -> Result<Self> {
        let me = std::env::current_exe().context("the path of this program")?;
        let mut child = Command::new(me)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal is for this process, which ends the others in its own time.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("a child process")?;
        let orders = child.stdin.take().context("a pipe to the child")?;
        let events = child.stdout.take().context("a pipe from the child")?;
        let id = child.id().context("a child that has ended at once")?;
        let events = listen(number, events, ticks, ended);
        Ok(Self::new(number, write(orders), events, Some((child, id))))
    }

    fn new(
        number: usize,
        orders: mpsc::Sender<Vec<u8>>,
        events: mpsc::Receiver<Event>,
        child: Option<(Child, u32)>,
    ) -> Self {
        Self {
            number,
            orders,
            events,
            owed: AtomicUsize::new(0),
            child,
            buried: false,
        }
    }

    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(|(_, id)| *id)
    }

    pub fn is_here(&self) -> bool {
        !self.buried
    }

    /// What is not answered. Where the worker has ended, its answers are missing.
    pub async fn tell(&self, line: Vec<u8>) {
        let _ = self.orders.send(line).await;
    }

    pub async fn order(&self, line: Vec<u8>) {
        // Where it is not taken the worker has ended, and owes nothing.
        if self.orders.send(line).await.is_ok() {
            self.owed.fetch_add(1, Relaxed);
        }
    }

    /// To the last order. None: the worker has ended.
    pub async fn answer(&mut self) -> Option<Event> {
        loop {
            let event = self.events.recv().await?;
            if self.owed.fetch_sub(1, Relaxed) == 1 {
                return Some(event);
            }
        }
    }

    /// How it ended, if it has; told once.
    pub async fn fate(&mut self) -> Option<String> {
        if self.buried || !self.events.is_closed() {
            return None;
        }
        self.buried = true;
        let Some((child, id)) = &mut self.child else {
            return Some("the worker has ended too soon".into());
        };
        let how = match timeout(BURIAL, child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "its output was closed".into(),
        };
        Some(format!(
            "worker {} (process {id}) has ended too soon, with its share of the clients: {how}",
            self.number + 1
        ))
    }

    /// Waits for the end that it was told of.
    pub async fn end(&mut self) {
        while self.events.recv().await.is_some() {}
        if let Some((child, _)) = &mut self.child {
            // How it ended is no matter any more.
            let _ = child.wait().await;
        }
    }
}

/// Lines are written by a task of their own, so that none is cut off where an order is given up.
fn write(mut pipe: impl AsyncWrite + Send + Unpin + 'static) -> mpsc::Sender<Vec<u8>> {
    let (lines, mut waiting) = mpsc::channel::<Vec<u8>>(LINES);
    tokio::spawn(async move {
        while let Some(line) = waiting.recv().await {
            // A worker that reads no more has ended, and is missed where its answers are.
            if pipe.write_all(&line).await.is_err() || pipe.flush().await.is_err() {
                return;
            }
        }
    });
    lines
}

/// Puts ticks aside and hands answers on, until the worker has ended.
fn listen(
    number: usize,
    events: impl AsyncRead + Send + Unpin + 'static,
    ticks: Ticks,
    ended: CancellationToken,
) -> mpsc::Receiver<Event> {
    let (answered, answers) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let mut lines = BufReader::new(events).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            match serde_json::from_str(&text) {
                Ok(Event::Tick(tick)) => ticks.lock().push((number, tick)),
                Ok(event) => {
                    if answered.send(event).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    eprintln!("a worker wrote what is no event: {error}");
                    break;
                }
            }
        }
        drop(answered);
        ended.cancel();
    });
    answers
}
