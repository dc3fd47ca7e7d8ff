//! `herald-loadtest floor`: whatever is posted goes to everybody.

use anyhow::Result;

use super::{Heard, Peer, Publish, To, Who};
use crate::wire::upgrade::Upgrade;

pub struct Floor;

impl Peer for Floor {
    fn upgrade(&self, _who: &Who, _cursor: Option<&str>, _path: &str) -> Result<Upgrade> {
        Ok(Upgrade {
            path: "/".into(),
            headers: Vec::new(),
        })
    }

    fn ready_at_once(&self) -> bool {
        true
    }

    fn hear(&self, _who: &Who, _frame: &[u8]) -> Heard {
        Heard::Nothing
    }

    fn publish(&self, _to: To, body: &str, _id: u32) -> Result<Publish> {
        Ok(Publish::Post {
            path: "/pub".into(),
            headers: Vec::new(),
            body: body.to_owned(),
        })
    }
}
