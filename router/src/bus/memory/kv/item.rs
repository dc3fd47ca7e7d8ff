//! A key with its value, in one allocation for both orders in which a table finds it.

use std::{borrow::Borrow, cmp::Ordering, sync::Arc};

use bytes::Bytes;

use crate::bus::Entry;

pub(super) struct Item {
    pub key: Box<str>,
    /// Of its own and copied when it is read: shared, it would take half as much again, for as long as it stands.
    value: Box<[u8]>,
    pub revision: u64,
    /// Unix milliseconds.
    pub time: u64,
}

impl Item {
    pub(super) fn new(key: Box<str>, value: Bytes, revision: u64, time: u64) -> Arc<Self> {
        Arc::new(Self {
            key,
            value: Vec::from(value).into(),
            revision,
            time,
        })
    }

    pub(super) fn value(&self) -> Bytes {
        Bytes::copy_from_slice(&self.value)
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            value: self.value(),
            revision: self.revision,
        }
    }
}

/// Found, and ordered, by its key.
pub(super) struct ByKey(pub Arc<Item>);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

/// Found, and ordered, by its revision.
pub(super) struct ByRevision(pub Arc<Item>);

impl Borrow<u64> for ByRevision {
    fn borrow(&self) -> &u64 {
        &self.0.revision
    }
}

macro_rules! ordered {
    ($by:ty, $field:ident) => {
        impl Ord for $by {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.$field.cmp(&other.0.$field)
            }
        }

        impl PartialOrd for $by {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $by {
            fn eq(&self, other: &Self) -> bool {
                self.0.$field == other.0.$field
            }
        }

        impl Eq for $by {}
    };
}

ordered!(ByKey, key);
ordered!(ByRevision, revision);
