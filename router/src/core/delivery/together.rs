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
        let late = || Err(Failure::new(ErrorCode::Timeout, "it is not known whether the message was sent"));
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
