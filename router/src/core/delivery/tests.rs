use std::time::Duration;

use herald_proto::subject::Names;
use tokio::time::timeout;

use super::*;
use crate::{
    bus::{LogLimits, memory},
    policy::Policy,
};

fn command(id: &str, dedup: &str) -> SendCommand {
    SendCommand {
        to: Some(Target::user("bob").to_proto()),
        id: id.to_owned(),
        durable: true,
        dedup: dedup.to_owned(),
        ..SendCommand::default()
    }
}

fn router(max_messages_per_target: u64) -> Router {
    let bus = memory::bus(LogLimits {
        max_age: Duration::from_secs(60),
        max_messages_per_target,
        max_bytes: 1 << 20,
        replicas: None,
    });
    Router::new(bus, Policy::default(), Names::new("herald"))
}

async fn sent(router: &Router, command: SendCommand) -> Sent {
    match router.send(command).await.unwrap() {
        reply::Reply::Sent(sent) => sent,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_duplicate_has_the_first_ones_id_while_that_is_known() {
    let router = router(3);
    let first = sent(&router, command("1", "a")).await;
    let again = sent(&router, command("2", "a")).await;
    let expected = Sent {
        duplicate: true,
        ..first.clone()
    };
    assert_eq!(again, expected);
    assert!(
        !sent(&router, command("1", "a")).await.duplicate,
        "the very same command"
    );
    for n in 3..6 {
        sent(&router, command(&n.to_string(), &n.to_string())).await;
    }
    let forgotten = Sent {
        id: String::new(),
        time: 0,
        ..expected
    };
    assert_eq!(sent(&router, command("6", "a")).await, forgotten);
}

/// The first attempt ended between the message and its copy.
#[tokio::test]
async fn a_copy_has_an_id_though_the_message_is_forgotten() {
    let router = router(1);
    let from_alice = |id: &str, dedup: &str, copy| SendCommand {
        sender: Some(Sender {
            user: Some("alice".to_owned()),
            broadcast: false,
        }),
        copy,
        ..command(id, dedup)
    };
    sent(&router, from_alice("1", "a", false)).await;
    sent(&router, from_alice("2", "b", false)).await;
    assert_eq!(sent(&router, from_alice("3", "a", true)).await.id, "");
    let inbox = router.bus.log.read(&Target::user("alice"), 0, 10).await.unwrap();
    let copy = Stored::decode(inbox.entries[0].payload.clone()).unwrap();
    assert_eq!(copy.id, "3");
}

#[tokio::test]
async fn what_may_not_have_been_heard_is_nudged() {
    let router = router(100);
    let mut nudges = router.bus.pubsub.subscribe(&router.names.nudge()).await.unwrap();
    router.send(command("1", "a")).await.unwrap();
    let sent = sent(&router, command("2", "b")).await;
    router.send(command("3", "b")).await.unwrap();
    let heard = timeout(Duration::from_secs(10), nudges.next()).await.unwrap().unwrap();
    let expected = Nudge {
        target: Some(Target::user("bob").to_proto()),
        sequence: sent.sequence,
    };
    assert_eq!(Nudge::decode(heard.payload), Ok(expected));
    assert!(nudges.try_next().is_none(), "for the repeated one alone");
}
