//! `delete-group` and `purge`: what the application deletes.
//!
//! Both are told first, by a control message in the log of the group or target, and done then. Should the second step fail,
//! the asker is told that the outcome is unknown, and asks again.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use herald_proto::{
    ErrorCode, Target,
    cluster::{
        DeleteGroupCommand, Done, GroupDeleted, MemberLeft, PurgeCommand, Purged, Stored, control::Order, reply,
    },
    id,
    offset::Offset,
    subject,
};
use prost::Message;
use serde_json::json;

use super::Router;
use crate::{
    bus::{Bucket, BusError, Version},
    events::{Event, Kind},
    failure::Failure,
    watches,
};

/// Keys of a group that are deleted at once.
const AT_ONCE: usize = 256;
/// How many orders at a target's end are looked through for what stands before them.
const LOOKED_AT: usize = 16;

impl Router {
    pub(super) async fn delete_group(&self, command: DeleteGroupCommand) -> Result<reply::Reply, Failure> {
        id::check("group", &command.group)?;
        let group = &command.group;
        let kv = &self.bus.kv;
        let members = [subject::key(&[group])];
        if kv.select(Bucket::Groups, &members).await?.entries.is_empty() {
            return Ok(reply::Reply::Done(Done::default()));
        }
        let target = Target::group(group.as_str());
        let order = Order::GroupDeleted(GroupDeleted {});
        let sequence = self.order(&target, order, &command.dedup).await?.sequence;
        // Asked again, for a replica may have lagged; and who has joined since the order stays.
        let standing = kv.select(Bucket::Groups, &members).await?.entries;
        let ended = standing
            .into_iter()
            .filter(|(key, entry)| watches::membership_start(self, key, &entry.value) < sequence);
        // Who leaves and joins at the same time is asked by compare-and-set: what is new stays.
        let count = stream::iter(ended)
            .map(|(key, entry)| async move {
                match kv
                    .change(Bucket::Groups, &key, None, Version::Value(entry.revision))
                    .await
                {
                    Ok(_) => Ok(1),
                    Err(BusError::Conflict) => Ok(0),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_fold(0, |count, one| std::future::ready(Ok(count + one)))
            .await?;
        self.directory.write().delete_group(group, sequence);
        // Sent before the answer is, so that no other router lets a member send after it.
        let left = MemberLeft {
            user: String::new(),
            group: group.clone(),
            sequence,
        };
        let left = Bytes::from(left.encode_to_vec());
        self.bus.pubsub.publish(&self.names.left(), left).await?;
        self.events.emit(Kind::Group, || {
            let more = json!({ "group": group, "deleted": true, "members": count });
            Event {
                user: None,
                ..Event::new(Kind::Group, "", more)
            }
        });
        Ok(reply::Reply::Done(Done { sequence, count }))
    }

    pub(super) async fn purge(&self, command: PurgeCommand) -> Result<reply::Reply, Failure> {
        let target = command
            .of
            .and_then(Target::from_proto)
            .ok_or_else(|| Failure::bad_request("no target"))?;
        target.check()?;
        let before = self.sequence_of(command.before.as_deref())?;
        let Some(last) = self.bus.log.last(&target).await? else {
            return Ok(reply::Reply::Done(Done::default()));
        };
        let newest = self.newest_message(&target, last).await?;
        // What was acked before this was asked is deleted, and nothing that comes from now on.
        let purged = Purged {
            upto: newest.min(before - 1),
            through: last.min(before - 1),
        };
        let order = Order::Purged(purged);
        let sequence = self.order(&target, order, &command.dedup).await?.sequence;
        // Asked again, what was told first holds.
        let told = self.first_of(sequence).await?;
        let told = told.as_ref().and_then(purged_by).unwrap_or(&purged);
        let count = self.bus.log.purge(&target, told.through).await?;
        Ok(reply::Reply::Done(Done { sequence, count }))
    }

    /// Nobody lacks anything by the deletion of orders that tell of deletions, but what these told is to be told by the one that
    /// takes their place. Where the target ends with such ones: the newest entry before them, or what they told; else
    /// `last`, its end.
    async fn newest_message(&self, target: &Target, last: u64) -> Result<u64, Failure> {
        let page = self
            .bus
            .log
            .read_back(target, last.saturating_add(1), LOOKED_AT)
            .await?;
        // A replica that lags does not know the end, and says nothing.
        if page.entries.last().is_none_or(|entry| entry.sequence != last) {
            return Ok(last);
        }
        let mut told = 0;
        for entry in page.entries.iter().rev() {
            let stored = Stored::decode(entry.payload.clone()).unwrap_or_default();
            match purged_by(&stored) {
                Some(purged) => told = told.max(purged.upto),
                None => return Ok(entry.sequence.max(told)),
            }
        }
        Ok(if page.left == 0 { told } else { last })
    }

    /// Of an offset of this log; the end where there is none.
    fn sequence_of(&self, offset: Option<&str>) -> Result<u64, Failure> {
        let Some(offset) = offset else {
            return Ok(u64::MAX);
        };
        let offset: Offset = offset.parse().map_err(|_| Failure::bad_request("malformed offset"))?;
        if offset.log != self.log_id()? {
            return Err(Failure::new(ErrorCode::NotFound, "the offset is of another log"));
        }
        Ok(offset.sequence.max(1))
    }
}

/// What was deleted, if it tells of a deletion.
pub(super) fn purged_by(stored: &Stored) -> Option<&Purged> {
    match stored.control.as_ref()?.order.as_ref()? {
        Order::Purged(purged) => Some(purged),
        _ => None,
    }
}
