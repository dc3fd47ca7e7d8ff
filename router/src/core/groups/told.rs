//! What is told of a change of a membership, in the user's own log, before it is done.
//!
//! A router that stood still, or was cut off, carries out commands late: after the gateway has asked another one in its place,
//! and perhaps after the user has changed its mind, which was answered. The log knows: such a command's order stands in it
//! already, and another one behind it.

use herald_proto::{
    Target,
    cluster::{GroupChange, StoredControl, control::Order},
};
use prost::Message;

use crate::{
    bus::BusError,
    core::{Failure, Router},
};

/// Entries of the user's log that are looked through at once.
const PAGE: usize = 256;

pub(super) struct Told {
    /// From this offset on the change holds.
    pub sequence: u64,
    /// Another router has told it before, and since then the membership was changed by what was asked later.
    pub superseded: bool,
}

impl Router {
    /// Tells the user's gateways and clients of a change.
    pub(super) async fn tell(&self, user: &str, group: &str, joined: bool, dedup: &str) -> Result<Told, Failure> {
        let change = GroupChange {
            group: group.to_owned(),
            joined,
        };
        let inbox = Target::user(user);
        let told = self.order(&inbox, Order::Group(change), dedup).await?;
        Ok(Told {
            sequence: told.sequence,
            superseded: told.duplicate && self.is_superseded(&inbox, group, told.sequence).await?,
        })
    }

    /// Whether the log holds another order about this membership behind `told`.
    async fn is_superseded(&self, inbox: &Target, group: &str, told: u64) -> Result<bool, Failure> {
        let last = self.bus.log.last(inbox).await?.unwrap_or(told);
        let mut after = told;
        while after < last {
            let page = self.bus.log.read(inbox, after, PAGE).await?;
            if page.entries.iter().any(|entry| changes(&entry.payload, group)) {
                return Ok(true);
            }
            // The leader has more.
            let end = page.entries.last().ok_or_else(lagging)?;
            after = end.sequence;
        }
        Ok(false)
    }
}

fn changes(payload: &[u8], group: &str) -> bool {
    let order = StoredControl::decode(payload)
        .ok()
        .and_then(|stored| stored.control?.order);
    matches!(order, Some(Order::Group(change)) if change.group == group)
}

fn lagging() -> Failure {
    BusError::Unavailable("a replica of the log lags behind".to_owned()).into()
}
