//! `call`, and what is routed by its number: asks a backend of the application.

use bytes::Bytes;
use herald_router::failure::Failure;

use super::Query;
use crate::{
    conn::conversation::answer_on,
    event::{Answer, Body, Call, Tag},
    services::{self, CallError, Caller},
};

/// A result up to this is put into the outbox as any answer is; a larger one waits for room.
const SMALL: usize = 16 << 10;

impl Query {
    /// Ends with the connection: whoever has gone hears no answer.
    pub(super) async fn call(self, tag: Tag, call: Call) {
        let services = &self.asking.gateway.services;
        let called = async {
            let body = services::call_by_client(services, call, self.caller()).await?;
            Ok(body)
        };
        self.answered(tag, called).await;
    }

    /// As [`Self::call`], to the service that the configuration names for this number.
    pub(super) async fn routed(self, tag: Tag, opcode: u32, body: Bytes) {
        let gateway = &self.asking.gateway;
        let called = async {
            let route = gateway.routes.opcode(opcode).ok_or(CallError::Unknown)?;
            let call = route.call(body, Some(opcode), self.caller());
            let reply = gateway.services.call(call, route.limits).await?;
            Ok(Body {
                bytes: reply.body,
                content_type: reply.content_type,
            })
        };
        self.answered(tag, called).await;
    }

    async fn answered(&self, tag: Tag, called: impl Future<Output = Result<Body, CallError>>) {
        let end = self.end.clone();
        let answered = async {
            let answer = match called.await {
                Ok(_) if !tag.wants_answer() => return,
                Ok(body) if body.bytes.len() <= SMALL => Answer::Result(body),
                Ok(body) => {
                    let _turn = self.large.acquire().await;
                    let frame = self.conn.dialect.answer(&tag, &Answer::Result(body));
                    return self.conn.answer_in_time(frame).await;
                }
                Err(error) => Failure::from(error).into(),
            };
            answer_on(&self.conn, &tag, &answer);
        };
        end.run_until_cancelled(answered).await;
    }

    fn caller(&self) -> Caller {
        let session = self.conn.member().and_then(|member| member.session);
        Caller {
            user: Some(self.asking.user.clone()),
            session: session.map(String::from),
            connection: Some(self.conn.id.to_string()),
            address: self.conn.address,
        }
    }
}
