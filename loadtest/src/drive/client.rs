//! One client: it connects, reads, answers pings, checks what it hears, and comes back when it is cut off.

use std::{
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use rand::Rng;
use tokio::time::sleep;

use super::board::Board;
use crate::{
    clock,
    measure::order::{Faults, Order},
    stamp::{Stamp, Stream},
    target::{Heard, Peer, Server, Who},
    wire::{
        Outgoing, WireError, socket,
        ws::{self, Incoming, Reader, Writer},
    },
};

/// A client that cannot connect tries again, like those of users: after this at first, then doubled up to the second.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// What all clients of a worker share.
pub struct World {
    pub server: Server,
    pub peer: Arc<dyn Peer>,
    pub sources: u32,
    pub board: Board,
}

impl World {
    pub fn source(&self, client: usize) -> Option<Ipv4Addr> {
        socket::source(self.server.address(client).socket, self.sources, client)
    }
}

/// What a client remembers while it is away.
pub struct Memory {
    pub who: Who,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cursor: Option<String>,
    streams: Vec<(Stream, Order)>,
}

impl Memory {
    pub fn new(who: Who) -> Self {
        Self {
            who,
            state: Mutex::default(),
        }
    }

    /// What it should have heard by now, what it has, and what is wrong with it.
    pub fn settle(&self, sent: impl Fn(Stream) -> u64, streams: impl Iterator<Item = Stream>) -> (u64, u64, Faults) {
        let state = self.state.lock();
        let (mut expected, mut heard, mut faults) = (0, 0, Faults::default());
        for stream in streams {
            let sent = sent(stream);
            expected += sent;
            match state.streams.iter().find(|(known, _)| *known == stream) {
                Some((_, order)) => {
                    heard += order.heard();
                    faults += order.settled(sent);
                }
                None => faults.lost += sent,
            }
        }
        (expected, heard, faults)
    }

    fn hear(&self, stamp: &Stamp) -> bool {
        let mut state = self.state.lock();
        // A client has a few streams: its own, its groups', that of all.
        let streams = &mut state.streams;
        let known = streams.iter().position(|(stream, _)| *stream == stamp.stream);
        let place = known.unwrap_or_else(|| {
            streams.push((stamp.stream, Order::default()));
            streams.len() - 1
        });
        streams[place].1.hear(stamp.number)
    }

    /// From where it goes on when it comes back.
    pub fn keep(&self, cursor: Option<String>) {
        if cursor.is_some() {
            self.state.lock().cursor = cursor;
        }
    }

    fn come_back(&self) -> Option<String> {
        let mut state = self.state.lock();
        for (_, order) in &mut state.streams {
            order.come_back();
        }
        state.cursor.clone()
    }
}

/// A client that keeps itself connected until it is dropped. `began`: when it wanted to be there. `on_ready` is called
/// with each connection.
pub async fn live(world: Arc<World>, memory: Arc<Memory>, mut began: u64, mut on_ready: impl FnMut()) {
    let mut failures = 0;
    loop {
        let mut conversation = Conversation::new(&world, &memory, began);
        let error = match conversation.hold(&mut on_ready).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let was_ready = conversation.ready.is_some();
        drop(conversation);
        // Of several gateways it may be one that is at fault.
        let host = &world.server.address(memory.who.number).host;
        if was_ready {
            world.board.closed(format!("{host}: {}", error.kind()));
            failures = 0;
            began = clock::now();
        } else {
            world.board.connect_failed(format!("{host}: {}", error.kind()));
            failures += 1;
        }
        if error.is_final() {
            return;
        }
        let most = BACKOFF[0].saturating_mul(1 << failures.min(5)).min(BACKOFF[1]);
        let pause = rand::rng().random_range(most / 2..most);
        sleep(pause).await;
    }
}

#[derive(Debug)]
enum Never {}

/// One connection of a client.
struct Conversation<'a> {
    world: &'a World,
    memory: &'a Memory,
    began: u64,
    /// Since when it gets what it should.
    ready: Option<u64>,
}

impl<'a> Conversation<'a> {
    fn new(world: &'a World, memory: &'a Memory, began: u64) -> Self {
        Self {
            world,
            memory,
            began,
            ready: None,
        }
    }

    async fn hold(&mut self, on_ready: &mut impl FnMut()) -> Result<Never, WireError> {
        let (mut reader, mut writer) = open(self.world, self.memory, 0).await?;
        if self.world.peer.ready_at_once() {
            self.is_ready(on_ready);
        }
        loop {
            let reply = match reader.next().await? {
                Incoming::Message(frame) => self.take(&frame, on_ready)?,
                Incoming::Ping(payload) => Some(Outgoing::Pong(payload)),
                Incoming::Other => None,
            };
            if let Some(reply) = reply {
                writer.send(reply).await?;
            }
        }
    }

    fn take(&mut self, frame: &[u8], on_ready: &mut impl FnMut()) -> Result<Option<Outgoing>, WireError> {
        if hear(self.world, self.memory, frame, self.ready.unwrap_or(self.began)) {
            return Ok(None);
        }
        match self.world.peer.hear(&self.memory.who, frame) {
            Heard::Ready { cursor, gap } => {
                self.memory.keep(cursor);
                if gap {
                    self.world.board.gap();
                }
                self.is_ready(on_ready);
            }
            Heard::Cursor(cursor) => self.memory.keep(Some(cursor)),
            Heard::Gap => self.world.board.gap(),
            Heard::Reply(reply) => return Ok(Some(reply)),
            Heard::Refused(reason) => return Err(WireError::Closed { code: 0, reason }),
            Heard::Answer { error: Some(error), .. } => self.world.board.error(error),
            Heard::Answer { .. } | Heard::Nothing => {}
        }
        Ok(None)
    }

    fn is_ready(&mut self, on_ready: &mut impl FnMut()) {
        if self.ready.is_some() {
            return;
        }
        self.ready = Some(clock::now());
        self.world.board.open.fetch_add(1, Relaxed);
        self.world
            .board
            .connected(self.memory.who.number, clock::micros_since(self.began));
        on_ready();
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        if self.ready.is_some() {
            self.world.board.open.fetch_sub(1, Relaxed);
        }
    }
}

/// Opens the connection and says what has to be said first.
pub async fn open(world: &World, memory: &Memory, buffer: usize) -> Result<(Reader, Writer), WireError> {
    let who = &memory.who;
    let cursor = memory.come_back();
    let address = world.server.address(who.number);
    let ask = world
        .peer
        .upgrade(who, cursor.as_deref(), &address.path)
        .map_err(|error| WireError::NotHttp(format!("{error:#}")))?;
    let (reader, mut writer) = ws::open(address, world.source(who.number), &ask, buffer).await?;
    for message in world.peer.hello(who) {
        writer.feed(message).await?;
    }
    writer.flush().await?;
    Ok((reader, writer))
}

/// Reads until the server has welcomed this client.
pub async fn until_ready(world: &World, who: &Who, reader: &mut Reader) -> Result<(), WireError> {
    while !world.peer.ready_at_once() {
        let Incoming::Message(frame) = reader.next().await? else {
            continue;
        };
        match world.peer.hear(who, &frame) {
            Heard::Ready { .. } => return Ok(()),
            Heard::Refused(reason) => return Err(WireError::Closed { code: 0, reason }),
            _ => {}
        }
    }
    Ok(())
}

/// Takes the messages of a frame in, if there are any. What was due before `since` had to wait for the client.
pub fn hear(world: &World, memory: &Memory, frame: &[u8], since: u64) -> bool {
    let Some((mut stamp, mut rest)) = Stamp::find(frame) else {
        return false;
    };
    let board = &world.board;
    let now = clock::now();
    board.bytes.fetch_add(frame.len() as u64, Relaxed);
    loop {
        if stamp.run == world.server.run && memory.hear(&stamp) {
            let recorder = if stamp.due >= since {
                &board.latency
            } else {
                &board.caught_up
            };
            recorder.record(memory.who.number, now.saturating_sub(stamp.due) / 1_000);
            board.heard.fetch_add(1, Relaxed);
        }
        match Stamp::find(rest) {
            Some(next) => (stamp, rest) = next,
            None => return true,
        }
    }
}
