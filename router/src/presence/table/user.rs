//! What a table knows of a user: keys that nodes have written, and sessions over HTTP.

use herald_proto::cluster::{ConnectionInfo, UserOnNode};
use prost::{DecodeError, Message};

use super::Id;

#[derive(Debug, Default)]
pub(super) struct User {
    pub keys: Vec<Key>,
    /// Boxed, for few have any.
    #[allow(clippy::box_collection)]
    sessions: Option<Box<Vec<Session>>>,
    /// By what counts of all this.
    pub online: bool,
}

#[derive(Debug)]
pub(super) struct Key {
    pub node: Id,
    pub incarnation: Id,
    pub connections: u32,
    /// Told since the bucket was last told anew.
    pub told: bool,
    pub since: u64,
    /// As it was written: few ever ask for more, and so it takes one allocation.
    value: Box<[u8]>,
}

/// It counts for as long as its key stands, for that ends by itself.
#[derive(Debug)]
pub(super) struct Session {
    pub sid: Box<str>,
    pub since: u64,
    /// Told since the bucket was last told anew.
    pub told: bool,
}

/// [`UserOnNode`] without what takes long to read.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(uint32, tag = "1")]
    connections: u32,
    #[prost(uint64, tag = "3")]
    since: u64,
}

impl Key {
    pub fn new(node: Id, incarnation: Id, value: &[u8]) -> Result<Self, DecodeError> {
        let Head { connections, since } = Head::decode(value)?;
        Ok(Self {
            node,
            incarnation,
            connections,
            told: true,
            since,
            value: value.into(),
        })
    }

    pub fn is_of(&self, node: &str, incarnation: &str) -> bool {
        *self.node == *node && *self.incarnation == *incarnation
    }

    pub fn infos(&self) -> Vec<ConnectionInfo> {
        // What cannot be read names nobody.
        UserOnNode::decode(&*self.value).map_or_else(|_| Vec::new(), |value| value.infos)
    }
}

impl User {
    pub fn put(&mut self, key: Key) {
        match self
            .keys
            .iter_mut()
            .find(|known| known.is_of(&key.node, &key.incarnation))
        {
            Some(known) => *known = key,
            None => {
                // Most have one: the first growth would make room for four.
                self.keys.reserve_exact(1);
                self.keys.push(key);
            }
        }
    }

    pub fn sessions(&self) -> &[Session] {
        self.sessions.as_deref().map_or(&[], Vec::as_slice)
    }

    /// True where it was not known.
    pub fn put_session(&mut self, session: Session) -> bool {
        let sessions = self.sessions.get_or_insert_default();
        match sessions.iter_mut().find(|known| known.sid == session.sid) {
            Some(known) => {
                *known = session;
                false
            }
            None => {
                sessions.reserve_exact(1);
                sessions.push(session);
                true
            }
        }
    }

    /// How many there were.
    pub fn drop_sessions(&mut self, gone: impl Fn(&Session) -> bool) -> usize {
        let Some(sessions) = &mut self.sessions else { return 0 };
        let before = sessions.len();
        sessions.retain(|session| !gone(session));
        let left = sessions.len();
        if left == 0 {
            self.sessions = None;
        }
        before - left
    }

    pub fn is_on(&self, node: &str) -> bool {
        self.keys.iter().any(|key| *key.node == *node)
    }

    pub fn is_nowhere(&self) -> bool {
        self.keys.is_empty() && self.sessions.is_none()
    }

    /// Since when it has its newest key, in Unix milliseconds; 0: none.
    pub fn newest(&self) -> u64 {
        self.keys.iter().map(|key| key.since).max().unwrap_or(0)
    }

    /// Whether anything was not told since the bucket was last told anew.
    pub fn is_untold(&self) -> bool {
        self.keys.iter().any(|key| !key.told) || self.sessions().iter().any(|session| !session.told)
    }

    /// The bucket is told anew.
    pub fn untell(&mut self) {
        self.keys.iter_mut().for_each(|key| key.told = false);
        let sessions = self.sessions.iter_mut().flat_map(|sessions| sessions.iter_mut());
        sessions.for_each(|session| session.told = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_value_is_read_with_the_rest_at_hand() {
        let value = UserOnNode {
            connections: 3,
            since: 1_790_000_000_000,
            infos: vec![ConnectionInfo {
                id: "c".to_owned(),
                since: 5,
                ..ConnectionInfo::default()
            }],
        };
        let encoded = value.encode_to_vec();
        let key = Key::new("n".into(), "i".into(), &encoded).unwrap();
        assert_eq!((key.connections, key.since), (value.connections, value.since));
        assert_eq!(key.infos(), value.infos);
        assert!(Key::new("n".into(), "i".into(), &encoded[..encoded.len() - 1]).is_err());
    }
}
