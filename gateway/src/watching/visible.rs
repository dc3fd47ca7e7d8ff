//! Where one sees only whom one shares a group with, a change is told only if that still holds. The routers know.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use herald_proto::{
    cluster::{PresenceCommand, Sender},
    limits::USERS_PER_QUERY,
};
use herald_router::failure::Failure;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc::{Receiver, Sender as Queue, channel},
    time::sleep,
};
use tracing::{debug, warn};

use super::{Viewer, Watching};
use crate::{event::Push, routers::Routers};

/// Pushes that may wait.
const WAITING: usize = 65_536;
/// Asked for together.
const TOGETHER: usize = 4_096;
/// Before the routers are asked again.
const RETRY: Duration = Duration::from_millis(500);

pub(super) struct Visible {
    queue: Queue<Question>,
    questions: Mutex<Option<Receiver<Question>>>,
}

struct Question {
    viewer: Viewer,
    user: String,
    push: Push,
}

impl Visible {
    pub fn new() -> Self {
        let (queue, questions) = channel(WAITING);
        Self {
            queue,
            questions: Mutex::new(Some(questions)),
        }
    }

    /// Has the viewer told if it still sees the user.
    pub fn ask(&self, viewer: &Viewer, user: &str, push: &Push) {
        let question = Question {
            viewer: viewer.clone(),
            user: user.to_owned(),
            push: push.clone(),
        };
        if let Err(error) = self.queue.try_send(question) {
            warn!("too many changes of presence at once");
            // It comes back, and watches anew.
            let question = error.into_inner();
            question.viewer.conn.close(herald_proto::CloseCode::Unavailable);
        }
    }

    /// Works until dropped.
    pub async fn run(&self, watching: &Watching, routers: &Routers) {
        let questions = self.questions.lock().take();
        let Some(mut questions) = questions else { return };
        let mut batch = Vec::new();
        while questions.recv_many(&mut batch, TOGETHER).await > 0 {
            let mut by_user: HashMap<Arc<str>, Vec<Question>> = HashMap::new();
            for question in batch.drain(..) {
                by_user.entry(question.viewer.user.clone()).or_default().push(question);
            }
            for (viewer, asked) in by_user {
                for some in asked.chunks(USERS_PER_QUERY) {
                    answer(watching, routers, &viewer, some).await;
                }
            }
        }
    }
}

async fn answer(watching: &Watching, routers: &Routers, viewer: &str, asked: &[Question]) {
    let users: HashSet<&String> = asked.iter().map(|question| &question.user).collect();
    let command = PresenceCommand {
        sender: Some(Sender {
            user: Some(viewer.to_owned()),
            broadcast: false,
        }),
        users: users.into_iter().cloned().collect(),
        group: None,
    };
    let visible = loop {
        if asked.iter().all(|question| !question.viewer.conn.outbox.is_open()) {
            return;
        }
        match ask(routers, &command).await {
            Ok(visible) => break visible,
            Err(failure) => debug!(%failure, "who may see whom is not known yet"),
        }
        sleep(RETRY).await;
    };
    for Question { viewer, user, push } in asked {
        if visible.contains(user) {
            watching.push(std::slice::from_ref(&viewer.conn), push);
        } else {
            watching.unwatch(viewer, std::slice::from_ref(user));
        }
    }
}

async fn ask(routers: &Routers, command: &PresenceCommand) -> Result<HashSet<String>, Failure> {
    let presence = routers.presence(command).await?;
    Ok(presence.users.into_iter().map(|presence| presence.user).collect())
}
