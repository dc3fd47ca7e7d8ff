//! What all scenarios have in common on the command line.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{
    bounds,
    drive::{crew::CLIENTS_PER_PROCESS, sender::Via},
    target::{
        Kind, Server,
        able::{Settings, Unable, Wants},
    },
    wire::{Address, token::Minter},
};

pub mod common;

use common::{Reports, Watched};

/// The key of `herald-gateway --dev`, which everybody knows.
const DEV_SECRET: &str = "herald-development-key-never-in-production";
/// Clients for each source address of loopback.
const CLIENTS_PER_SOURCE: usize = 4_000;

#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct Options {
    /// Who is put under load
    #[arg(long, value_enum, default_value = "herald")]
    pub target: Kind,
    /// Where clients connect; repeat it for several gateways, which are taken in turn [default: for Herald
    /// ws://127.0.0.1:8002/ws; peers have defaults of their own]
    #[arg(long, value_name = "ws://HOST:PORT[/PATH]")]
    pub url: Vec<String>,
    /// Where messages are posted with --via api, or always for targets that know no other way [default: for Herald
    /// http://127.0.0.1:9002; for peers where clients connect]
    #[arg(long, value_name = "http://HOST:PORT")]
    pub api: Option<String>,
    /// Key of that interface
    #[arg(long, default_value = "dev-api-key")]
    pub api_key: String,
    /// Secret that signs the clients' tokens (HS256) [default: that of herald-gateway --dev]
    #[arg(long, default_value = DEV_SECRET, hide_default_value = true)]
    pub secret: String,
    /// `kid` of the tokens
    #[arg(long)]
    pub kid: Option<String>,
    /// Pusher's application: id:key:secret
    #[arg(long, default_value = "app-id:app-key:app-secret")]
    pub app: String,
    #[command(flatten)]
    pub watched: Watched,

    /// Connects under way at once
    #[arg(long, value_parser = bounds::DIAL.whole::<usize>(), default_value = "64", help_heading = "Load")]
    pub dial: usize,
    /// Connects a second; as fast as it goes unless told
    #[arg(long, value_parser = bounds::CONNECT_RATE.number(), value_name = "PER SECOND", help_heading = "Load")]
    pub connect_rate: Option<f64>,
    /// Time to come to rest between connecting and sending
    #[arg(long, value_parser = bounds::PAUSE.time(), value_name = "TIME", default_value = "2s", help_heading = "Load")]
    pub settle: Duration,
    /// Bytes of a message's body, at least those of its stamp (about 40)
    #[arg(long, value_parser = bounds::SIZE.whole::<usize>(), value_name = "BYTES", default_value = "64", help_heading = "Load")]
    pub size: usize,
    /// Messages that are not stored
    #[arg(long, help_heading = "Load")]
    pub ephemeral: bool,
    /// Over connections like all others, or over the application's HTTP interface
    #[arg(long, value_enum, help_heading = "Load")]
    pub via: Option<ViaName>,
    /// The cluster is meant to fail meanwhile: connections that end, connects that fail and processes that end are counted
    /// and no fault, and senders send again, one message at a time and under a key, until it is answered
    #[arg(long, conflicts_with_all = ["ephemeral", "via"], help_heading = "Load")]
    pub through_faults: bool,
    /// Number in the names of users and groups, so that another run meets the same [default: at random]
    #[arg(long, value_name = "NUMBER", help_heading = "Load")]
    pub names: Option<u32>,
    /// Those who send [default: by rate and groups]
    #[arg(long, value_parser = bounds::SENDERS.whole::<usize>(), help_heading = "Load")]
    pub senders: Option<usize>,
    /// After the last message heard, what is missing is lost
    #[arg(long, value_parser = bounds::PATIENCE.time(), value_name = "TIME", default_value = "8s", help_heading = "Load")]
    pub patience: Duration,
    /// Processes that share the clients [default: one for each 15,000]
    #[arg(long, value_parser = bounds::PROCESSES.whole::<usize>(), help_heading = "Load")]
    pub processes: Option<usize>,
    /// Source addresses, 127.0.0.1 and those after it, towards a server on loopback [default: one for each 4,000 clients]
    #[arg(long, value_parser = bounds::SOURCES.whole::<u32>(), help_heading = "Load")]
    pub sources: Option<u32>,

    #[command(flatten)]
    pub reports: Reports,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ViaName {
    Socket,
    Api,
}

impl Options {
    pub async fn server(&self) -> Result<Server> {
        let (url, api) = defaults(self.target);
        let urls = if self.url.is_empty() {
            vec![url.to_owned()]
        } else {
            self.url.clone()
        };
        let mut addresses = Vec::new();
        for url in &urls {
            addresses.push(Address::resolve(url).await?);
        }
        let api = match (&self.api, api) {
            (Some(api), _) => Some(Address::resolve(api).await?),
            (None, Some(own)) => Some(Address::resolve(own).await?),
            // Those that are published to where clients connect.
            (None, None) => addresses.first().cloned(),
        };
        let run = rand::random_range(1..1_000_000);
        let minted = !matches!(self.target, Kind::Centrifugo) || self.secret != DEV_SECRET;
        Ok(Server {
            kind: self.target,
            addresses,
            api,
            api_key: self.api_key.clone(),
            minter: minted.then(|| Minter {
                secret: self.secret.clone(),
                kid: self.kid.clone(),
            }),
            app: self.app.clone(),
            run,
            names: self.names.unwrap_or(run),
            durable: self.target.is_herald() && !self.ephemeral,
        })
    }

    pub fn via(&self) -> Via {
        match (self.via, self.target) {
            _ if self.through_faults => Via::Patient,
            (Some(ViaName::Socket), _) | (None, Kind::Herald | Kind::HeraldProto | Kind::WsId) => Via::Socket,
            (Some(ViaName::Api), _) | (None, _) => Via::Api,
        }
    }

    /// Whether the target has what the scenario asks of it, and can be told so.
    pub fn check(&self, wants: Wants) -> Result<(), Unable> {
        let settings = Settings {
            by_api: self.via.map(|via| via == ViaName::Api),
            ephemeral: self.ephemeral,
            through_faults: self.through_faults,
        };
        self.target.check(wants, settings)
    }

    pub fn processes_for(&self, clients: usize) -> usize {
        self.processes.unwrap_or_else(|| clients.div_ceil(CLIENTS_PER_PROCESS))
    }

    pub fn sources_for(&self, clients: usize) -> u32 {
        let needed = clients.div_ceil(CLIENTS_PER_SOURCE).clamp(1, 200);
        self.sources.unwrap_or(u32::try_from(needed).unwrap_or(200))
    }
}

/// Where each target listens unless somebody says otherwise, and where it is published to if that is elsewhere.
fn defaults(kind: Kind) -> (&'static str, Option<&'static str>) {
    match kind {
        Kind::Herald | Kind::HeraldProto => ("ws://127.0.0.1:8002/ws", Some("http://127.0.0.1:9002")),
        Kind::Floor => ("ws://127.0.0.1:8009", None),
        Kind::Pusher => ("ws://127.0.0.1:6001", None),
        Kind::Nchan => ("ws://127.0.0.1:8080", None),
        Kind::Centrifugo => ("ws://127.0.0.1:8000", None),
        Kind::WsId => ("ws://127.0.0.1:8080/ws", None),
    }
}
