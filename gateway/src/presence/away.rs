//! Who polls is away between two polls, and counts as being there all the while.

use std::{collections::HashMap, time::Duration};

use herald_proto::{
    cluster::{ConnectionInfo, UserOnNode},
    limits,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::User;

/// For so long after an answer: as everybody does for those who watch.
pub const AWAY: Duration = limits::GRACE;

/// Of each user the last poll that this node has answered: whichever of several ends first, the last one counts.
#[derive(Default)]
pub struct Away(Mutex<HashMap<User, Last>>);

struct Last {
    poll: ConnectionInfo,
    until: Instant,
}

impl Away {
    /// A poll of this user has been answered.
    pub fn answered(&self, user: User, poll: ConnectionInfo) {
        let until = Instant::now() + AWAY;
        self.0.lock().insert(user, Last { poll, until });
    }

    /// Whether the user has been away for too long, without another answer since: then it is here no more.
    pub fn is_over(&self, user: &str) -> bool {
        let mut away = self.0.lock();
        let over = away.get(user).is_some_and(|last| last.until <= Instant::now());
        if over {
            away.remove(user);
        }
        over
    }

    /// Nobody is waited for any more.
    pub fn forget(&self, user: &str) {
        self.0.lock().remove(user);
    }

    /// What is told of one who has no connection here: the same as by its last poll, so that nothing need be written.
    pub(super) fn on_node(&self, user: &str) -> Option<UserOnNode> {
        let away = self.0.lock();
        let Last { poll, .. } = away.get(user)?;
        Some(UserOnNode {
            connections: 1,
            since: poll.since,
            infos: vec![poll.clone()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_was_answered_again_meanwhile_is_waited_for_anew() {
        let away = Away::default();
        let poll = |id: &str| ConnectionInfo {
            id: id.to_owned(),
            ..ConnectionInfo::default()
        };
        away.answered("bob".into(), poll("a"));
        tokio::time::advance(AWAY / 2).await;
        away.answered("bob".into(), poll("b"));
        tokio::time::advance(AWAY / 2).await;
        assert!(
            !away.is_over("bob"),
            "the first poll's time is over, and the second's is not"
        );
        let told = away.on_node("bob").map(|told| (told.connections, told.infos));
        assert_eq!(told, Some((1, vec![poll("b")])));
        tokio::time::advance(AWAY / 2).await;
        assert!(away.is_over("bob"));
        assert!(!away.is_over("bob") && away.on_node("bob").is_none());
    }
}
