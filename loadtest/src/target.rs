//! Whom the load is put on: Herald, the floor, or a peer that speaks another protocol. One small file each, pure.

use std::sync::Arc;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::wire::{Address, Outgoing, token::Minter, upgrade::Upgrade};

pub mod able;
mod centrifugo;
mod floor;
mod herald;
mod herald_proto;
mod nchan;
mod pusher;
mod ws_id;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Herald, JSON frames
    Herald,
    /// Herald, protobuf frames
    HeraldProto,
    /// `herald-loadtest floor`: one bare write for each delivery
    Floor,
    /// Servers of the Pusher protocol: sockudo, soketi
    Pusher,
    /// nginx with nchan: WebSocket subscribers at /sub/<channel>, publishers at /pub/<channel>
    Nchan,
    /// Centrifugo, its JSON protocol
    Centrifugo,
    /// The hub of article 004 (Go), or Herald's dialect of it: broadcasts only
    WsId,
}

/// What is known of the server, the same for all processes of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    pub kind: Kind,
    /// Where clients connect, in turn.
    pub addresses: Vec<Address>,
    /// Where the application publishes, if by HTTP.
    pub api: Option<Address>,
    pub api_key: String,
    pub minter: Option<Minter>,
    /// Of a Pusher application.
    pub app: String,
    /// Stands in all messages, so that runs do not meet.
    pub run: u32,
    /// Stands in the names of users and groups.
    pub names: u32,
    pub durable: bool,
}

/// A client.
#[derive(Debug, Clone)]
pub struct Who {
    /// Below [`Who::SENDERS`]: a receiver.
    pub number: usize,
    pub groups: Vec<u32>,
}

impl Who {
    /// Senders are numbered from here.
    pub const SENDERS: usize = 1 << 27;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    User(usize),
    Group(u32),
    All,
}

/// What a frame without a stamp says to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// From now on the client gets what it should.
    Ready {
        cursor: Option<String>,
        gap: bool,
    },
    Cursor(String),
    Reply(Outgoing),
    /// To a command, by its id.
    Answer {
        id: u32,
        error: Option<String>,
    },
    /// Messages may be gone for good.
    Gap,
    /// The server does not want this client.
    Refused(String),
    Nothing,
}

/// How a message is published.
#[derive(Debug, PartialEq, Eq)]
pub enum Publish {
    /// Over the sender's own connection.
    Frame(Outgoing),
    /// To [`Server::api`].
    Post {
        path: String,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
}

pub trait Peer: Send + Sync {
    fn upgrade(&self, who: &Who, cursor: Option<&str>, path: &str) -> Result<Upgrade>;

    /// Whether a client is ready as soon as it is upgraded.
    fn ready_at_once(&self) -> bool {
        false
    }

    /// What a client says first.
    fn hello(&self, _who: &Who) -> Vec<Outgoing> {
        Vec::new()
    }

    fn hear(&self, who: &Who, frame: &[u8]) -> Heard;

    /// An error where this peer has no such thing.
    fn publish(&self, to: To, body: &str, id: u32) -> Result<Publish>;

    /// The same under a key, so that it is stored once however often it is sent.
    fn publish_under(&self, _key: &str, _to: To, _body: &str, _id: u32) -> Result<Publish> {
        bail!("this target knows no keys");
    }

    /// Whether commands of a connection are answered.
    fn answers(&self) -> bool {
        false
    }
}

impl Server {
    /// `by_api`: publish over HTTP where there is a choice.
    pub fn peer(&self, by_api: bool) -> Arc<dyn Peer> {
        match self.kind {
            Kind::Herald => Arc::new(herald::Herald::new(self.clone(), by_api)),
            Kind::HeraldProto => Arc::new(herald_proto::HeraldProto::new(self.clone(), by_api)),
            Kind::Floor => Arc::new(floor::Floor),
            Kind::Pusher => Arc::new(pusher::Pusher::new(self.clone())),
            Kind::Nchan => Arc::new(nchan::Nchan::new(self.run)),
            Kind::Centrifugo => Arc::new(centrifugo::Centrifugo::new(self.clone())),
            Kind::WsId => Arc::new(ws_id::WsId),
        }
    }

    /// Where a client connects: clients with consecutive numbers in turn on all addresses.
    pub fn address(&self, client: usize) -> &Address {
        &self.addresses[client % self.addresses.len()]
    }

    pub fn user(&self, number: usize) -> String {
        format!("lt{}-{number}", self.names)
    }

    pub fn group(&self, number: u32) -> String {
        format!("lt{}-g{number}", self.names)
    }
}

/// For peers without users of their own: every target is a channel.
fn channel(run: u32, to: To) -> String {
    match to {
        To::All => format!("lt{run}-all"),
        To::Group(number) => format!("lt{run}-g{number}"),
        To::User(number) => format!("lt{run}-u{number}"),
    }
}

/// The channels that a client follows there.
fn channels(run: u32, who: &Who) -> Vec<String> {
    let own = [To::All, To::User(who.number)];
    let groups = who.groups.iter().map(|group| To::Group(*group));
    own.into_iter().chain(groups).map(|to| channel(run, to)).collect()
}
