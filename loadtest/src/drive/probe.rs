//! The first connection to each address, before any other: whether a server is there, and whether it wants us. Thousands of
//! clients would find out no sooner, and say it less clearly.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::{
    board::Board,
    client::{Memory, World, open, until_ready},
    sender::Via,
};
use crate::{
    target::{Server, Who},
    wire::{Address, WireError, socket},
};

/// A server that is there answers far sooner.
const PATIENCE: Duration = Duration::from_secs(5);
/// Among receivers, and beyond all that a run has.
const PROBES: usize = Who::SENDERS / 2;

#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    #[error("{host}: {error}")]
    Connect { host: String, error: WireError },
    #[error("{host}: {error}; do --secret and --kid fit the server's key?")]
    Refused { host: String, error: WireError },
}

/// Connects to where clients connect, and to where messages are posted.
pub async fn probe(server: &Server, via: Via) -> Result<(), Unreachable> {
    let (server, addresses) = (Arc::new(server.clone()), server.addresses.len());
    // Those whose turn it is at the first address, the second, and so on.
    let first = PROBES - PROBES % addresses;
    try_join_all((first..first + addresses).map(|number| connect(Arc::clone(&server), number))).await?;
    match &server.api {
        Some(api) if via == Via::Api => reach(api).await,
        _ => Ok(()),
    }
}

/// Whether something listens there.
pub async fn reach(address: &Address) -> Result<(), Unreachable> {
    let connecting = timeout(PATIENCE, socket::connect(address.socket, None)).await;
    match connecting.unwrap_or(Err(WireError::Late)) {
        Ok(_) => Ok(()),
        Err(error) => Err(unreachable(&address.host, error)),
    }
}

async fn connect(server: Arc<Server>, number: usize) -> Result<(), Unreachable> {
    let world = World {
        peer: server.peer(false),
        server: Server::clone(&server),
        sources: 1,
        board: Board::default(),
    };
    let memory = Memory::new(Who {
        number,
        groups: Vec::new(),
    });
    let welcome = async {
        let (mut reader, _writer) = open(&world, &memory, 0).await?;
        until_ready(&world, &memory.who, &mut reader).await
    };
    let welcomed = timeout(PATIENCE, welcome).await.unwrap_or(Err(WireError::Late));
    welcomed.map_err(|error| unreachable(&server.address(number).host, error))
}

fn unreachable(host: &str, error: WireError) -> Unreachable {
    let host = host.to_owned();
    if error.is_final() || matches!(error, WireError::Refused { status: 401 | 403, .. }) {
        Unreachable::Refused { host, error }
    } else {
        Unreachable::Connect { host, error }
    }
}
