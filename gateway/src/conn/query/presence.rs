//! `presence`, `watch` and `unwatch`.

use std::sync::Arc;

use herald_proto::cluster::{self, PresenceCommand, Sender};
use herald_router::failure::Failure;

use super::{Asking, Query};
use crate::{
    conn::{Conn, conversation::answer_on},
    event::{Answer, Presence, PresenceQuery, Tag, UserPresence},
    watching::{Viewer, board::State},
};

impl Query {
    pub(super) async fn presence(&self, tag: Tag, query: PresenceQuery) {
        match self.asking.presence(query).await {
            Ok(presence) => {
                if tag.wants_answer() {
                    let frame = self.conn.dialect.answer(&tag, &Answer::Presence(presence));
                    self.conn.answer_in_time(frame).await;
                }
            }
            Err(failure) => answer_on(&self.conn, &tag, &failure.into()),
        }
    }

    pub(super) async fn watch(&self, tag: Tag, users: Vec<String>) {
        let answer = |answer: Answer| answer_on(&self.conn, &tag, &answer);
        if let Err(failure) = self.asking.watch(&self.conn, users, answer).await {
            answer_on(&self.conn, &tag, &failure.into());
        }
    }

    pub(super) fn unwatch(&self, tag: Tag, users: &[String]) {
        let viewer = self.asking.viewer(&self.conn, false);
        self.asking.gateway.watching.unwatch(&viewer, users);
        answer_on(&self.conn, &tag, &Answer::Watching(Vec::new()));
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

    /// Those who are not visible are left out, as in an answer to `presence`. The answer comes before all changes.
    pub async fn watch(
        &self,
        conn: &Arc<Conn>,
        users: Vec<String>,
        answer: impl FnOnce(Answer),
    ) -> Result<(), Failure> {
        let presence = self.ask_presence(users, None).await?;
        let viewer = self.viewer(conn, presence.restricted);
        let visible: Vec<String> = presence.users.iter().map(|user| user.user.clone()).collect();
        let told = |states: Vec<State>| {
            let users = states.into_iter().zip(presence.users).map(|(state, told)| {
                let state_of = UserPresence {
                    online: state.online,
                    connections: None,
                    since: (state.online && state.since > 0).then_some(state.since),
                    last_seen: (!state.online && told.last_seen > 0).then_some(told.last_seen),
                };
                (state.user, state_of)
            });
            answer(Answer::Watching(users.collect()));
        };
        self.gateway.watching.watch(&viewer, &visible, told).await
    }

    fn viewer(&self, conn: &Arc<Conn>, restricted: bool) -> Viewer {
        Viewer {
            conn: conn.clone(),
            user: self.user.as_str().into(),
            restricted,
        }
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
