//! The sinks of one target. Nearly always one, so that one costs no allocation; cloned for each delivery, so cheap.

use std::sync::Arc;

use crate::bus::LiveSink;

#[derive(Clone)]
pub(super) enum Sinks {
    One(u64, Arc<dyn LiveSink>),
    Many(Arc<[(u64, Arc<dyn LiveSink>)]>),
}

impl Sinks {
    pub(super) fn one(id: u64, sink: Arc<dyn LiveSink>) -> Self {
        Self::One(id, sink)
    }

    fn list(&self) -> Vec<(u64, Arc<dyn LiveSink>)> {
        match self {
            Self::One(id, sink) => vec![(*id, sink.clone())],
            Self::Many(sinks) => sinks.to_vec(),
        }
    }

    pub(super) fn with(&self, id: u64, sink: Arc<dyn LiveSink>) -> Self {
        let mut sinks = self.list();
        sinks.push((id, sink));
        Self::Many(sinks.into())
    }

    /// None where nobody is left.
    pub(super) fn without(&self, id: u64) -> Option<Self> {
        let mut sinks = self.list();
        sinks.retain(|(other, _)| *other != id);
        match sinks.len() {
            0 => None,
            1 => sinks.pop().map(|(id, sink)| Self::One(id, sink)),
            _ => Some(Self::Many(sinks.into())),
        }
    }

    pub(super) fn each(&self, mut call: impl FnMut(&dyn LiveSink)) {
        match self {
            Self::One(_, sink) => call(sink.as_ref()),
            Self::Many(sinks) => sinks.iter().for_each(|(_, sink)| call(sink.as_ref())),
        }
    }
}
