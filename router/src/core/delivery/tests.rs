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

#[tokio::test]
async fn what_may_not_have_been_heard_is_nudged() {
    let bus = memory::bus(LogLimits {
        max_age: Duration::from_secs(60),
        max_messages_per_target: 100,
        max_bytes: 1 << 20,
        replicas: None,
    });
    let router = Router::new(bus, Policy::default(), Names::new("herald"));
    let mut nudges = router.bus.pubsub.subscribe(&router.names.nudge()).await.unwrap();
    router.send(command("1", "a")).await.unwrap();
    let reply = router.send(command("2", "b")).await.unwrap();
    router.send(command("3", "b")).await.unwrap();
    let reply::Reply::Sent(sent) = reply else {
        panic!("{reply:?}")
    };
    let heard = timeout(Duration::from_secs(10), nudges.next()).await.unwrap().unwrap();
    let expected = Nudge {
        target: Some(Target::user("bob").to_proto()),
        sequence: sent.sequence,
    };
    assert_eq!(Nudge::decode(heard.payload), Ok(expected));
    assert!(nudges.try_next().is_none(), "for the repeated one alone");
}
