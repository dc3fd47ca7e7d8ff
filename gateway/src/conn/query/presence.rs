//! `presence`, `watch` and `unwatch`.

use herald_proto::cluster::{self, PresenceCommand, Sender};
use herald_router::failure::Failure;

use super::{Asking, Query};
use crate::{
    conn::conversation::answer_on,
    event::{Answer, Presence, PresenceQuery, UserPresence},
    watching::{Viewer, board::State},
};

impl Query {
    pub(super) async fn presence(&self, id: Option<u32>, query: PresenceQuery) {
        match self.asking.presence(query).await {
            Ok(presence) => {
                if id.is_some() {
                    let frame = self.conn.dialect.answer(id, &Answer::Presence(presence));
                    self.conn.answer_in_time(frame).await;
                }
            }
            Err(failure) => answer_on(&self.conn, id, &failure.into()),
        }
    }

    /// Those who are not visible are left out, as in an answer to `presence`.
    pub(super) async fn watch(&self, id: Option<u32>, users: Vec<String>) {
        if let Err(failure) = self.try_watch(id, users).await {
            answer_on(&self.conn, id, &failure.into());
        }
    }

    async fn try_watch(&self, id: Option<u32>, users: Vec<String>) -> Result<(), Failure> {
        let presence = self.asking.ask_presence(users, None).await?;
        let viewer = self.viewer(presence.restricted);
        let visible: Vec<String> = presence.users.iter().map(|user| user.user.clone()).collect();
        let watching = &self.asking.gateway.watching;
        let answer = |states: Vec<State>| {
            let users = states.into_iter().zip(presence.users).map(|(state, told)| {
                let state_of = UserPresence {
                    online: state.online,
                    connections: None,
                    since: (state.online && state.since > 0).then_some(state.since),
                    last_seen: (!state.online && told.last_seen > 0).then_some(told.last_seen),
                };
                (state.user, state_of)
            });
            answer_on(&self.conn, id, &Answer::Watching(users.collect()));
        };
        watching.watch(&viewer, &visible, answer).await
    }

    pub(super) fn unwatch(&self, id: Option<u32>, users: &[String]) {
        self.asking.gateway.watching.unwatch(&self.viewer(false), users);
        answer_on(&self.conn, id, &Answer::Watching(Vec::new()));
    }

    fn viewer(&self, restricted: bool) -> Viewer {
        Viewer {
            conn: self.conn.clone(),
            user: self.asking.user.as_str().into(),
            restricted,
        }
    }
}

impl Asking {
    pub async fn presence(&self, query: PresenceQuery) -> Result<Presence, Failure> {
        let (users, group) = match query {
            PresenceQuery::Users(users) => (users, None),
            PresenceQuery::Group(group) => (Vec::new(), Some(group)),
        };
        let presence = self.ask_presence(users, group).await?;
        Ok(Presence {
            users: presence.users.into_iter().map(named).collect(),
            online: presence.online,
            members: presence.members,
        })
    }

    async fn ask_presence(&self, users: Vec<String>, group: Option<String>) -> Result<cluster::Presence, Failure> {
        let command = PresenceCommand {
            sender: Some(Sender {
                user: Some(self.user.clone()),
                broadcast: false,
            }),
            users,
            group,
        };
        self.gateway.routers.presence(&command).await
    }
}

fn named(presence: cluster::UserPresence) -> (String, UserPresence) {
    let some = |time: u64| (time > 0).then_some(time);
    let told = UserPresence {
        online: presence.online,
        connections: Some(presence.connections),
        since: some(presence.since),
        last_seen: some(presence.last_seen),
    };
    (presence.user, told)
}
