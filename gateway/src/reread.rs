//! Reads the memberships of this node's users again, now and then and after each disturbance: whatever word of a change
//! was lost, by a router that died between two steps or otherwise, the gateway comes to hold what the bucket says.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use herald_proto::cluster::{ConnectCommand, ConnectionInfo, GroupMembership, UserConnection};
use tokio::time::Instant;
use tracing::debug;

use crate::{
    crowd,
    gateway::Gateway,
    hub::membership::{Change, Membership},
    presence,
};

const EVERY: Duration = Duration::from_secs(30);
/// Users asked for at once; the questions go together.
const ABREAST: usize = 256;

/// Memberships that this node knows and the routers did not tell of, by user and group: gone, if the next reading says
/// so too. A router's table may be a moment behind.
type Suspects = HashMap<(Arc<str>, Box<str>), u64>;

/// Works until dropped.
pub async fn run(gateway: Arc<Gateway>) {
    let mut disturbances = gateway.hub.disturbances();
    let mut suspects = Suspects::new();
    let mut next = Instant::now() + EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            Ok(()) = disturbances.changed() => {}
        }
        suspects = read_all(&gateway, &suspects).await;
        next = Instant::now() + EVERY;
    }
}

async fn read_all(gateway: &Arc<Gateway>, suspects: &Suspects) -> Suspects {
    let users = gateway.hub.users();
    let answers = stream::iter(users).map(|user| async move {
        let command = ConnectCommand {
            user: user.to_string(),
            groups: Vec::new(),
            dedup: String::new(),
            node: match gateway.limits.now().crowd().look_again() {
                true => gateway.node.clone(),
                false => String::new(),
            },
        };
        (user, gateway.routers.connect(command).await)
    });
    let mut answers = answers.buffer_unordered(ABREAST);
    let mut now = Suspects::new();
    while let Some((user, answer)) = answers.next().await {
        match answer {
            Ok(told) => {
                reconcile(gateway, &user, &told.groups, suspects, &mut now).await;
                thin_out(gateway, &user, &told.connections);
            }
            // The next reading comes.
            Err(failure) => debug!(%failure, "memberships could not be read again"),
        }
    }
    now
}

/// Connections that came at the same moment on two nodes may have missed each other: here the surplus goes.
fn thin_out(gateway: &Gateway, user: &str, elsewhere: &[UserConnection]) {
    let rules = gateway.limits.now().crowd();
    if !rules.look_again() {
        return;
    }
    let here = gateway.hub.local_connections(user);
    let infos = here
        .iter()
        .filter(|conn| conn.outbox.is_open())
        .filter_map(presence::info);
    let all: Vec<ConnectionInfo> = infos.chain(crowd::elsewhere(elsewhere)).collect();
    for (id, code) in rules.at_rest(&all) {
        if let Some(conn) = here.iter().find(|conn| *conn.id == *id) {
            conn.close(code);
        }
    }
}

async fn reconcile(
    gateway: &Arc<Gateway>,
    user: &Arc<str>,
    told: &[GroupMembership],
    before: &Suspects,
    now: &mut Suspects,
) {
    let known = gateway.hub.memberships(user);
    let told: HashMap<&str, u64> = told.iter().map(|m| (m.group.as_str(), m.from_sequence)).collect();
    let mut changes = Vec::new();
    for (group, from) in &told {
        if known.get(*group).is_none_or(|known| known.sequence < *from) {
            changes.push((Arc::from(*group), *from, true));
        }
    }
    for (group, Membership { sequence, joined }) in known {
        if !joined || told.contains_key(&*group) {
            continue;
        }
        let key = (user.clone(), group.clone());
        if before.get(&key) == Some(&sequence) {
            // Later than what is known, earlier than any change to come.
            changes.push((Arc::from(group), sequence + 1, false));
        } else {
            now.insert(key, sequence);
        }
    }
    for (group, sequence, joined) in changes {
        let change = Change {
            user: user.clone(),
            group,
            sequence,
            joined,
        };
        debug!(joined, "a change of groups had been missed");
        if let Err(error) = gateway.hub.apply(&change).await {
            debug!(%error, "a change of groups could not be followed");
        }
    }
}
