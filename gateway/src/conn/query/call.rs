//! `call`: asks a backend of the application.

use herald_router::failure::Failure;

use super::Query;
use crate::{
    conn::conversation::answer_on,
    event::{Answer, Call},
    services::{self, Caller},
};

/// A result up to this is put into the outbox as any answer is; a larger one waits for room.
const SMALL: usize = 16 << 10;

impl Query {
    /// Ends with the connection: whoever has gone hears no answer.
    pub(super) async fn call(self, id: Option<u32>, call: Call) {
        let end = self.end.clone();
        end.run_until_cancelled(self.call_out(id, call)).await;
    }

    async fn call_out(&self, id: Option<u32>, call: Call) {
        let called = services::call_by_client(&self.asking.gateway.services, call, self.caller()).await;
        let answer = match called {
            Ok(_) if id.is_none() => return,
            Ok(body) if body.bytes.len() <= SMALL => Answer::Result(body),
            Ok(body) => {
                let _turn = self.large.acquire().await;
                let frame = self.conn.dialect.answer(id, &Answer::Result(body));
                return self.conn.answer_in_time(frame).await;
            }
            Err(error) => Failure::from(error).into(),
        };
        answer_on(&self.conn, id, &answer);
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
