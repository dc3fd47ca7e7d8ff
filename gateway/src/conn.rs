//! One client connection: what all its parts share.
//!
//! A WebSocket is one small task, the [`reader`], which receives and runs the session. Everybody only puts frames into
//! the [`outbox`], which never waits; a [`flush`]er, shared with many others, writes them. The client of an HTTP answer
//! is a connection too: its answer [`pull`]s what waits.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use herald_proto::{CloseCode, offset::Cursor};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    auth::Identity,
    clock,
    cursors::Position,
    dialect::{Dialect, Keeps},
    event::{Answer, Ending, Tag},
    metrics::Staged,
};

pub mod command;
pub mod conversation;
pub mod early;
pub mod flush;
pub mod lanes;
pub mod opening;
pub mod outbox;
pub mod progress;
mod proof;
pub mod pull;
pub mod query;
pub mod reader;
pub mod receive;
pub mod sink;
pub mod socket;
pub mod writer;

use flush::UNTIMED;
use outbox::{Handover, Outbox, Pushed};
use progress::Progress;
use proof::Proof;
use sink::Sink;
use socket::Socket;

/// How long a large answer waits until what was sent before it has been read.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// A client on a slow line takes far longer for what is in its way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Shared by the connection's tasks and by the hub.
pub struct Conn {
    pub id: Box<str>,
    pub dialect: Dialect,
    pub outbox: Outbox,
    sink: Sink,
    /// The client's, behind whatever proxies are trusted.
    pub address: IpAddr,
    /// Set once, when the client is known.
    member: Mutex<Option<Member>>,
    /// Its connect has succeeded: the user is online by it.
    present: AtomicBool,
    /// For the metrics.
    pub(crate) stage: Staged,
    /// When the last frame came, in ticks of [`clock`].
    last_in: AtomicU32,
    /// How many commands the reader waits for before it reads on: silence is then not the client's fault.
    waiting: AtomicU32,
    /// When the token ends, in Unix seconds.
    expires: AtomicU64,
    /// When the token was issued, in Unix milliseconds; 0 where it does not tell.
    issued: AtomicU64,
    pub progress: Progress,
    /// Of a client without cursors. Boxed, for most have their own.
    proof: Option<Box<Proof>>,
}

/// Who is connected.
#[derive(Debug, Clone)]
pub struct Member {
    pub user: Arc<str>,
    pub device: Option<Box<str>>,
    /// Unix milliseconds.
    pub since: u64,
    /// That its token belongs to.
    pub session: Option<Box<str>>,
}

impl Conn {
    pub fn new(id: String, dialect: Dialect, outbox_bytes: usize, sink: Sink, address: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            dialect,
            outbox: match sink.is_awaited() {
                true => Outbox::taken(outbox_bytes),
                false => Outbox::new(outbox_bytes),
            },
            sink,
            address,
            member: Mutex::new(None),
            present: AtomicBool::new(false),
            stage: Staged::default(),
            last_in: AtomicU32::new(clock::ticks()),
            waiting: AtomicU32::new(0),
            expires: AtomicU64::new(u64::MAX),
            issued: AtomicU64::new(0),
            progress: Progress::default(),
            proof: (dialect.keeps() == Keeps::Server).then(Box::default),
        })
    }

    /// Puts a push into the outbox. Never waits.
    pub fn push(self: &Arc<Self>, frame: Bytes) -> Pushed {
        self.push_timed(frame, UNTIMED)
    }

    /// The same with a message that was accepted at `time`, so that it can be measured how long it took.
    pub fn push_timed(self: &Arc<Self>, frame: Bytes, time: u64) -> Pushed {
        let pushed = self.outbox.push(frame);
        if let Pushed::Queued(handover) = pushed {
            self.hand_over_timed(handover, time);
        }
        pushed
    }

    pub fn answer(self: &Arc<Self>, tag: &Tag, answer: &Answer) {
        self.answer_frame(self.dialect.answer(tag, answer));
    }

    pub fn answer_frame(self: &Arc<Self>, frame: Bytes) {
        self.hand_over(self.outbox.push_answer(frame));
    }

    /// Puts a large answer into the outbox as soon as it leaves room for pushes: who asks for much and reads it is no
    /// slow consumer. Who does not read it is.
    pub async fn answer_in_time(self: &Arc<Self>, frame: Bytes) {
        let end = Instant::now() + READ_WITHIN;
        loop {
            match self.outbox.push_large(frame.clone()) {
                Pushed::Queued(handover) => return self.hand_over(handover),
                Pushed::Closed => return,
                Pushed::Full if Instant::now() < end => tokio::time::sleep(LOOK_AGAIN).await,
                Pushed::Full => return self.close(CloseCode::SlowConsumer),
            }
        }
    }

    /// Tells, if it is `wanted`, of the place up to which all has been given: `frame` makes the push for those who know
    /// what a cursor is. Others are asked to prove that they have it. Where there is no room for it a later one is due, as
    /// if something had been given in `round`.
    pub fn tell_cursor(
        self: &Arc<Self>,
        cursor: &Cursor,
        round: u32,
        wanted: impl FnOnce() -> bool,
        frame: impl FnOnce() -> Bytes,
    ) {
        let push = |frame| self.push(frame) != Pushed::Full;
        let failed = || self.progress.gave(round);
        match &self.proof {
            Some(proof) => proof.ask(cursor, wanted, push, failed),
            None if wanted() && !push(frame()) => failed(),
            None => {}
        }
    }

    /// For a client without cursors; None where it has none, or has proved all that it was given.
    pub fn owes(&self) -> Option<Position> {
        self.proof.as_ref()?.owes(|| self.progress.owes())
    }

    /// What a client without cursors begins with.
    pub fn begins(&self, at: Position) {
        if let Some(proof) = &self.proof {
            proof.begin(at);
        }
    }

    pub fn welcomed(&self) {
        if let Some(proof) = &self.proof {
            proof.welcomed();
        }
    }

    /// What the pong with this payload proves to have been received.
    pub fn proven(&self, payload: &[u8]) -> Option<Cursor> {
        self.proof.as_ref()?.proven(payload)
    }

    /// Lets out what was held back, behind the welcome; without one, drops it.
    pub fn release(self: &Arc<Self>, welcome: Option<Bytes>) {
        self.hand_over(self.outbox.release(welcome));
    }

    pub fn close(self: &Arc<Self>, code: CloseCode) {
        self.end(Ending::Code(code));
    }

    pub fn end(self: &Arc<Self>, ending: Ending) {
        self.hand_over(self.outbox.close(ending));
    }

    fn hand_over(self: &Arc<Self>, handover: Handover) {
        self.hand_over_timed(handover, UNTIMED);
    }

    fn hand_over_timed(self: &Arc<Self>, handover: Handover, time: u64) {
        if handover == Handover::Needed {
            match &self.sink {
                Sink::Socket { flusher, .. } => flusher.add(self.clone(), time),
                Sink::Answer(answer) => answer.wake(),
            }
        }
    }

    /// The upgrade has come about: what waits is written from now on.
    pub fn attach(self: &Arc<Self>, brought: Socket) {
        if let Sink::Socket { socket, flusher } = &self.sink
            && socket.set(brought).is_ok()
        {
            flusher.add(self.clone(), UNTIMED);
        }
    }

    /// The log is to tell when what was put in until now has been written, this message among it.
    pub fn trace(self: &Arc<Self>, message: &Arc<str>) {
        if let Sink::Socket { flusher, .. } = &self.sink {
            flusher.trace(self.clone(), message.clone());
        }
    }

    /// None: of an HTTP answer, or of an upgrade that has not come about yet.
    pub fn socket(&self) -> Option<&Socket> {
        match &self.sink {
            Sink::Socket { socket, .. } => socket.get(),
            Sink::Answer(_) => None,
        }
    }

    /// Whether it counts as one of its user's connections, and makes the user online.
    pub fn counts(&self) -> bool {
        match &self.sink {
            Sink::Socket { .. } => true,
            Sink::Answer(answer) => answer.counts,
        }
    }

    pub fn set_member(&self, member: Member) {
        *self.member.lock() = Some(member);
    }

    pub fn member(&self) -> Option<Member> {
        self.member.lock().clone()
    }

    /// The user, and the session that its token belongs to.
    pub fn caller(&self) -> Option<(Arc<str>, Option<Box<str>>)> {
        let member = self.member.lock();
        let member = member.as_ref()?;
        Some((member.user.clone(), member.session.clone()))
    }

    pub fn is_of(&self, user: &str) -> bool {
        let member = self.member.lock();
        member.as_ref().is_some_and(|member| *member.user == *user)
    }

    pub fn is_of_session(&self, session: &str) -> bool {
        let member = self.member.lock();
        let own = member.as_ref().and_then(|member| member.session.as_deref());
        own == Some(session)
    }

    /// From now on the user counts as online by this connection.
    pub fn set_present(&self) {
        self.present.store(true, Ordering::Relaxed);
    }

    pub fn is_present(&self) -> bool {
        self.present.load(Ordering::Relaxed)
    }

    pub fn saw_frame(&self) {
        self.last_in.store(clock::ticks(), Ordering::Relaxed);
    }

    /// Whether a frame came at or after `tick`, or none could because the reader waits for a command's answer.
    pub fn alive_since(&self, tick: u32) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || clock::since(self.last_in.load(Ordering::Relaxed), tick) == 0
    }

    /// The reader waits for something else than the client while the guard lives.
    pub fn reader_waits(&self) -> ReaderWaits<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        ReaderWaits(self)
    }

    pub fn expires(&self) -> u64 {
        self.expires.load(Ordering::Relaxed)
    }

    pub fn issued(&self) -> Option<u64> {
        Some(self.issued.load(Ordering::Relaxed)).filter(|issued| *issued > 0)
    }

    /// What holds of the token that this connection lives by.
    pub fn set_token(&self, expires: u64, identity: &Identity) {
        self.expires.store(expires, Ordering::Relaxed);
        self.issued.store(identity.issued.unwrap_or(0), Ordering::Relaxed);
        if let Some(member) = &mut *self.member.lock() {
            member.session = identity.session.as_ref().map(|session| session.id.as_str().into());
        }
    }
}

pub struct ReaderWaits<'a>(&'a Conn);

impl Drop for ReaderWaits<'_> {
    fn drop(&mut self) {
        self.0.saw_frame();
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
