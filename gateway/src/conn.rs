//! One client connection: what all its parts share.
//!
//! A connection is two small tasks. The [`reader`] owns the receiving half and runs the session; the [`writer`] takes
//! what waits in the [`outbox`] and writes it. Everybody else only puts frames into the outbox, which never waits.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use herald_proto::CloseCode;
use parking_lot::Mutex;

use crate::{
    clock,
    dialect::Dialect,
    event::{Answer, Ending},
};

pub mod command;
pub mod conversation;
pub mod lanes;
pub mod outbox;
pub mod reader;
pub mod receive;
pub mod writer;

use outbox::Outbox;

/// Shared by the connection's tasks and by the hub.
pub struct Conn {
    pub id: Box<str>,
    pub dialect: Dialect,
    pub outbox: Outbox,
    /// Set once, when the client is known.
    member: Mutex<Option<Member>>,
    /// When the last frame came, in ticks of [`clock`].
    last_in: AtomicU32,
    /// How many commands the reader waits for before it reads on: silence is then not the client's fault.
    waiting: AtomicU32,
    /// When the token ends, in Unix seconds.
    expires: AtomicU64,
}

/// Who is connected.
#[derive(Debug, Clone)]
pub struct Member {
    pub user: Arc<str>,
    pub device: Option<Box<str>>,
    /// Unix milliseconds.
    pub since: u64,
}

impl Conn {
    pub fn new(id: String, dialect: Dialect, outbox_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            dialect,
            outbox: Outbox::new(outbox_bytes),
            member: Mutex::new(None),
            last_in: AtomicU32::new(clock::ticks()),
            waiting: AtomicU32::new(0),
            expires: AtomicU64::new(u64::MAX),
        })
    }

    pub fn answer(&self, id: Option<u32>, answer: &Answer) {
        self.outbox.push_answer(self.dialect.answer(id, answer));
    }

    pub fn close(&self, code: CloseCode) {
        self.outbox.close(Ending::Code(code));
    }

    pub fn set_member(&self, member: Member) {
        *self.member.lock() = Some(member);
    }

    pub fn member(&self) -> Option<Member> {
        self.member.lock().clone()
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

    pub fn set_expires(&self, unix_seconds: u64) {
        self.expires.store(unix_seconds, Ordering::Relaxed);
    }
}

pub struct ReaderWaits<'a>(&'a Conn);

impl Drop for ReaderWaits<'_> {
    fn drop(&mut self) {
        self.0.saw_frame();
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
