//! Keeps the directory in line with the buckets of groups and presence.

use std::time::Duration;

use herald_proto::{cluster::Membership, subject};
use prost::Message;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    bus::{Bucket, BusError, KvEvent},
    core::Router,
    directory::Directory,
};

mod presence;

/// How long to wait before a watch that could not be made is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Starts both watches, and what is to be done by what they tell. The receivers say whether each is current.
pub fn start(
    router: &Router,
    node: &str,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) -> [watch::Receiver<bool>; 2] {
    let upkeep = presence::upkeep(router.clone(), node.to_owned());
    let end = shutdown.clone();
    tasks.spawn(async move {
        end.run_until_cancelled(upkeep).await;
    });
    [Bucket::Groups, Bucket::Presence].map(|bucket| {
        let (current, seen) = watch::channel(false);
        let router = router.clone();
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            let follow = follow(&router, bucket, &current);
            shutdown.run_until_cancelled(follow).await;
        });
        seen
    })
}

async fn follow(router: &Router, bucket: Bucket, current: &watch::Sender<bool>) {
    loop {
        let result = follow_once(router, bucket, current).await;
        current.send_replace(false);
        if let Err(error) = result {
            debug!(bucket = bucket.name(), %error, "no watch yet");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(router: &Router, bucket: Bucket, current: &watch::Sender<bool>) -> Result<(), BusError> {
    if bucket == Bucket::Groups {
        // An error means that the process is ending.
        let _known = router.bus.log.id().wait_for(Option::is_some).await.is_ok();
    }
    let mut watch = router.bus.kv.watch(bucket, "").await?;
    // Another watch was here before: what it told may be out of date.
    apply(router, bucket, &[KvEvent::Reset]);
    // What memberships count from depends on the log: with another log all are told anew.
    let mut log = router.bus.log.id();
    let begun = log.borrow_and_update().clone();
    loop {
        let events = tokio::select! {
            events = watch.next_many() => events,
            Ok(()) = log.changed(), if bucket == Bucket::Groups => {
                if *log.borrow() != begun {
                    return Err(BusError::Unavailable("the log is another".into()));
                }
                continue;
            }
        };
        if events.is_empty() {
            break;
        }
        if events.contains(&KvEvent::Reset) {
            warn!(bucket = bucket.name(), "watch begins again");
            current.send_replace(false);
        }
        apply(router, bucket, &events);
        let turn = events
            .iter()
            .rfind(|event| matches!(event, KvEvent::Reset | KvEvent::Current));
        if turn == Some(&KvEvent::Current) {
            current.send_replace(true);
        }
    }
    Err(BusError::Unavailable("the watch ended".into()))
}

/// At one stroke: who asks waits no longer for it than for a single one.
fn apply(router: &Router, bucket: Bucket, events: &[KvEvent]) {
    if bucket == Bucket::Groups {
        let mut directory = router.directory.write();
        events
            .iter()
            .for_each(|event| apply_groups(router, &mut directory, event));
    } else {
        presence::apply(router, events);
    }
}

fn apply_groups(router: &Router, directory: &mut Directory, event: &KvEvent) {
    match event {
        KvEvent::Reset => directory.reset_groups(),
        KvEvent::Put {
            key, value, revision, ..
        } => match pair(key) {
            Some([group, user]) => {
                directory.groups_told(*revision);
                directory.put_member(&group, &user, membership_start(router, key, value));
            }
            None => warn!(key, "a key that is no membership"),
        },
        KvEvent::Delete { key, revision, .. } => match pair(key) {
            Some([group, user]) => {
                directory.groups_told(*revision);
                directory.delete_member(&group, &user);
            }
            None => warn!(key, "a key that is no membership"),
        },
        KvEvent::Current => {}
    }
}

/// From which offset on a membership counts; 0, from the beginning, where it began in another log than there is now, or
/// where its value cannot be read.
pub(crate) fn membership_start(router: &Router, key: &str, value: &[u8]) -> u64 {
    match Membership::decode(value) {
        Ok(membership) => {
            let log = router.bus.log.id();
            let same = log.borrow().as_ref().is_some_and(|log| log.as_str() == membership.log);
            if same { membership.from_sequence } else { 0 }
        }
        Err(error) => {
            warn!(key, %error, "an unreadable membership");
            0
        }
    }
}

fn pair(key: &str) -> Option<[String; 2]> {
    subject::split_key(key)?.try_into().ok()
}
