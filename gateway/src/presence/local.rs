//! What this node's hub knows of a user's connections, in the form in which the cluster is told.

use std::sync::Arc;

use herald_proto::{
    cluster::{ConnectionInfo, UserOnNode},
    id,
};

use super::{Away, Source};
use crate::{conn::Conn, hub::Hub};

/// Of one who has very many connections the newest are told; all are counted.
const TOLD: usize = 64;

/// Those who are connected, and those who poll.
pub(crate) struct Local {
    pub hub: Arc<Hub>,
    pub away: Arc<Away>,
}

impl Source for Local {
    fn on_node(&self, user: &str) -> UserOnNode {
        let connected = self.hub.on_node(user);
        match connected.connections {
            0 => self.away.on_node(user).unwrap_or(connected),
            _ => connected,
        }
    }
}

impl Source for Hub {
    fn on_node(&self, user: &str) -> UserOnNode {
        let mut conns = self.local_connections(user);
        // One whose connect may still fail makes nobody online, nor does one that does not count.
        conns.retain(|conn| conn.is_present());
        let mut infos: Vec<ConnectionInfo> = conns.iter().filter_map(info).collect();
        let since = infos.iter().map(|info| info.since).min();
        // The same order each time, so that what has not changed is not written again.
        infos.sort_unstable_by(|a, b| (b.since, &b.id).cmp(&(a.since, &a.id)));
        infos.truncate(TOLD);
        UserOnNode {
            connections: u32::try_from(conns.len()).unwrap_or(u32::MAX),
            since: since.unwrap_or_else(id::now_ms),
            infos,
        }
    }
}

/// None of one whose client is not known yet, or that does not count.
pub(crate) fn info(conn: &Arc<Conn>) -> Option<ConnectionInfo> {
    let member = conn.member().filter(|_| conn.counts())?;
    Some(ConnectionInfo {
        id: conn.id.to_string(),
        device: member.device.map(String::from).unwrap_or_default(),
        dialect: conn.dialect.name().to_owned(),
        address: conn.address.to_string(),
        since: member.since,
    })
}
