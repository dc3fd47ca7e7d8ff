//! Messages that came to a gateway together, and come to a router in one request.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use herald_proto::{
    ErrorCode,
    cluster::{ReplyBatch, SendBatch, SendCommand, reply},
    limits,
};
use prost::Message;
use tokio::time::sleep;

use super::Router;
use crate::{core::answered, failure::Failure};

impl Router {
    /// All at once: they are of different users, or their sender did not wait for the one before either.
    pub(in crate::core) async fn send_all(&self, batch: SendBatch) -> Result<reply::Reply, Failure> {
        let late = || {
            Err(Failure::new(
                ErrorCode::Timeout,
                "it is not known whether the message was sent",
            ))
        };
        let mut outcomes: Vec<_> = batch.sends.iter().map(|_| late()).collect();
        let numbered = batch.sends.into_iter().enumerate();
        let mut working: FuturesUnordered<_> = numbered
            .map(|(at, command)| async move { (at, self.send_encoded(command).await) })
            .collect();
        // One that hangs must not make what the others came to unknown: an ephemeral message would be sent again.
        let mut end = pin!(sleep(limits::SENDS));
        loop {
            tokio::select! {
                biased;
                done = working.next() => match done {
                    Some((at, outcome)) => outcomes[at] = outcome,
                    None => break,
                },
                () = &mut end => break,
            }
        }
        let replies = outcomes.into_iter().map(|outcome| answered("send", outcome));
        Ok(reply::Reply::Batch(ReplyBatch {
            replies: replies.collect(),
        }))
    }

    async fn send_encoded(&self, command: Bytes) -> Result<reply::Reply, Failure> {
        let command = SendCommand::decode(command).map_err(|error| Failure::bad_request(error.to_string()))?;
        self.send(command).await
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use herald_proto::{Target, cluster::Reply, subject::Names};

    use super::*;
    use crate::{
        bus::{
            LogLimits,
            fault::{FaultyLog, Rates},
            memory,
        },
        policy::Policy,
    };

    fn router(rates: Rates) -> Router {
        let mut bus = memory::bus(LogLimits {
            max_age: Duration::from_secs(60),
            max_messages_per_target: 100,
            max_bytes: 1 << 20,
            replicas: None,
        });
        bus.log = Arc::new(FaultyLog::new(bus.log, 1, rates));
        Router::new(bus, Policy::default(), Names::new("t"))
    }

    fn to_bob(id: &str) -> Bytes {
        let command = SendCommand {
            to: Some(Target::user("bob").to_proto()),
            id: id.to_owned(),
            durable: true,
            dedup: id.to_owned(),
            ..SendCommand::default()
        };
        command.encode_to_vec().into()
    }

    async fn send(router: &Router, sends: Vec<Bytes>) -> Vec<Result<String, String>> {
        let answer = router.handle("send", SendBatch { sends }.encode_to_vec().into()).await;
        let Some(reply::Reply::Batch(batch)) = Reply::decode(answer).unwrap().reply else {
            panic!("no batch");
        };
        let outcome = |reply: Reply| match reply.reply {
            Some(reply::Reply::Sent(sent)) => Ok(sent.id),
            Some(reply::Reply::Failure(failure)) => Err(failure.code),
            other => panic!("{other:?}"),
        };
        batch.replies.into_iter().map(outcome).collect()
    }

    #[tokio::test]
    async fn one_that_cannot_be_read_spoils_no_other() {
        let router = router(Rates::default());
        let sends = vec![to_bob("1"), Bytes::from_static(&[0xff]), to_bob("2")];
        let expected = [Ok("1".to_owned()), Err("bad_request".to_owned()), Ok("2".to_owned())];
        assert_eq!(send(&router, sends).await, expected);
        assert_eq!(send(&router, Vec::new()).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_does_not_make_the_others_unknown() {
        let router = router(Rates {
            hang: 30,
            ..Rates::default()
        });
        let ids: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let begun = tokio::time::Instant::now();
        let outcomes = send(&router, ids.iter().map(|id| to_bob(id)).collect()).await;
        assert!(begun.elapsed() < limits::ROUTER, "in time for whoever asks");
        let stored = router
            .bus
            .log
            .read(&Target::user("bob"), 0, 100)
            .await
            .unwrap()
            .entries
            .len();
        let sent = outcomes
            .iter()
            .zip(&ids)
            .filter(|(outcome, id)| outcome.as_ref() == Ok(*id))
            .count();
        let unknown = outcomes
            .iter()
            .filter(|outcome| **outcome == Err("timeout".to_owned()))
            .count();
        assert_eq!((sent, sent + unknown), (stored, 40));
        assert!(sent > 0 && unknown > 0, "{outcomes:?}");
    }
}
