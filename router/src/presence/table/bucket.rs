//! What the bucket says.

use std::time::Instant;

use herald_proto::{id, limits};
use prost::DecodeError;

use super::{
    super::POSTPONED,
    Change, Table, entry,
    node::Lease,
    user::{Key, Session},
};

impl Table {
    /// `value` is an encoded `UserOnNode`.
    pub fn put_user(
        &mut self,
        user: &str,
        node: &str,
        incarnation: &str,
        value: &[u8],
        now: Instant,
    ) -> Result<(), DecodeError> {
        let (node, at) = entry(&mut self.nodes, node);
        let incarnation = at.name_of(incarnation);
        let key = Key::new(node, incarnation, value)?;
        let counts = at.lease.counts(&key.incarnation);
        if !counts {
            at.lapses(&key.incarnation, now);
        }
        let (id, user) = entry(&mut self.users, user);
        if !user.is_on(&key.node) {
            at.users.insert(id.clone());
        }
        user.put(key);
        // Nobody goes offline by what is put.
        if counts && !user.online {
            user.online = true;
            self.online += 1;
            self.changes.push(Change { user: id, online: true });
        }
        Ok(())
    }

    /// `time` is that of the deletion, in Unix milliseconds.
    pub fn delete_user(&mut self, user: &str, node: &str, incarnation: &str, time: u64) {
        if self.users.contains_key(user) {
            self.drop_keys(user, time, |key| key.is_of(node, incarnation));
        } else {
            // Gone before this table was made, perhaps.
            self.note(user, time);
        }
    }

    pub fn put_session(&mut self, user: &str, sid: &str, since: u64) {
        let (id, user) = entry(&mut self.users, user);
        let new = user.put_session(Session {
            sid: sid.into(),
            since,
            told: true,
        });
        self.sessions += usize::from(new);
        self.refresh(&id, 0);
    }

    pub fn delete_session(&mut self, user: &str, sid: &str, time: u64) {
        if self.users.contains_key(user) {
            self.drop_sessions(user, time, |session| *session.sid == *sid);
        } else {
            self.note(user, time);
        }
    }

    /// `time` is when it was put, in Unix milliseconds.
    pub fn put_lease(&mut self, node: &str, incarnation: &str, now: Instant, time: u64) {
        let (id, node) = entry(&mut self.nodes, node);
        let incarnation = node.name_of(incarnation);
        node.told = true;
        node.alive = time;
        node.forget_lapsed(&incarnation);
        self.set_lease(&id, Lease::Stands(incarnation), now);
    }

    pub fn end_lease(&mut self, node: &str, now: Instant, time: u64) {
        let disturbed = self.clock.is_disturbed(now);
        let Some(entry) = self.nodes.get_mut(node) else { return };
        match entry.lease.clone() {
            Lease::Stands(incarnation) if disturbed => {
                self.set_lease(node, Lease::Ends(incarnation, now + POSTPONED), now);
            }
            Lease::Stands(_) => self.set_lease(node, Lease::None, now),
            Lease::None => {
                // When it was refreshed last is not known; not later than this, if it ran out.
                entry.alive = entry.alive.max(time.saturating_sub(as_ms(limits::LEASE)));
                // Found ended just now, by a table that begins: it, too, may come after a time in which nobody could
                // refresh anything.
                if self.clock.begins()
                    && id::now_ms().saturating_sub(time) < as_ms(POSTPONED)
                    && let Some(incarnation) = entry.take_newest_lapsed()
                {
                    entry.told = true;
                    self.set_lease(node, Lease::Ends(incarnation, now + POSTPONED), now);
                }
            }
            Lease::Ends(..) => {}
        }
    }

    pub fn put_router(&mut self, node: &str) {
        self.routers.insert(node.into(), true);
    }

    pub fn end_router(&mut self, node: &str) {
        self.routers.remove(node);
    }

    /// It stands in the bucket when one who is offline was last seen.
    pub fn put_seen(&mut self, user: &str, time: u64) {
        self.seen.written(user, time);
    }

    pub fn end_seen(&mut self, user: &str) {
        self.seen.ended(user);
    }

    fn note(&mut self, user: &str, time: u64) {
        if self.seen.is_kept() {
            self.seen.note(user, time);
            self.changes.push(Change {
                user: user.into(),
                online: false,
            });
        }
    }
}

fn as_ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
