//! Who tells that users have come online and gone offline: of several routers the first by name.

use std::time::Duration;

use herald_proto::subject;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use super::{
    Event, Kind,
    changes::{Changes, Told},
};
use crate::{
    bus::{BusError, Request, Requests},
    core::Router,
};

const TICK: Duration = Duration::from_millis(250);
/// Before a subscription that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Works until dropped. `node` is this router's name.
pub(crate) async fn run(router: Router, node: String) {
    let kinds = [Kind::Online, Kind::Offline];
    if !kinds.iter().any(|kind| router.events.wants(*kind)) {
        return;
    }
    router.directory.write().note_turns();
    let mut changes = Changes::default();
    loop {
        if let Err(error) = follow(&router, &node, &mut changes).await {
            debug!(%error, "what other routers tell cannot be heard yet");
        }
        sleep(RETRY).await;
    }
}

async fn follow(router: &Router, node: &str, changes: &mut Changes) -> Result<(), BusError> {
    let pubsub = &router.bus.pubsub;
    let mut online = pubsub.subscribe(&router.names.event(Kind::Online.as_str())).await?;
    let mut offline = pubsub.subscribe(&router.names.event(Kind::Offline.as_str())).await?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            now = tick.tick() => turn(router, node, changes, now),
            event = online.next() => hear(changes, event, &mut online, true)?,
            event = offline.next() => hear(changes, event, &mut offline, false)?,
        }
    }
}

fn turn(router: &Router, node: &str, changes: &mut Changes, now: Instant) {
    let now = now.into_std();
    let turns = router.directory.write().take_turns();
    for turn in turns {
        changes.note(&turn.user, turn.online, turn.since, now);
    }
    let first = router.directory.read().presence().is_first_router(node);
    for told in changes.due(first, now) {
        let kind = if told.online { Kind::Online } else { Kind::Offline };
        router.events.emit(kind, || event(kind, &told));
    }
}

/// Two routers that tell the same tell it under one id.
fn event(kind: Kind, told: &Told) -> Event {
    let more = match (kind, told.since) {
        (_, 0) => json!({}),
        (Kind::Online, since) => json!({ "since": since }),
        (_, since) => json!({ "last_seen": since }),
    };
    let mut event = Event::new(kind, &*told.user, more);
    if told.since > 0 {
        event.id = format!("{}.{}.{}", kind.as_str(), subject::escape(&told.user), told.since);
    }
    event
}

fn hear(changes: &mut Changes, event: Option<Request>, more: &mut Requests, online: bool) -> Result<(), BusError> {
    #[derive(Deserialize)]
    struct Heard {
        user: String,
    }
    let first = event.ok_or_else(|| BusError::Unavailable("the subscription ended".to_owned()))?;
    let mut next = Some(first);
    while let Some(event) = next {
        match serde_json::from_slice::<Heard>(&event.payload) {
            Ok(heard) => changes.heard(&heard.user, online),
            Err(error) => warn!(%error, "an unreadable event"),
        }
        next = more.try_next();
    }
    Ok(())
}
