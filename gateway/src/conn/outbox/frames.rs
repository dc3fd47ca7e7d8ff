//! Frames that wait together.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Frames in order. Mostly one waits at a time: then nothing is allocated for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frames {
    first: Option<Bytes>,
    rest: VecDeque<Bytes>,
}

impl From<Bytes> for Frames {
    fn from(frame: Bytes) -> Self {
        Self {
            first: Some(frame),
            rest: VecDeque::new(),
        }
    }
}

impl Frames {
    pub(in crate::conn) fn push_back(&mut self, frame: Bytes) {
        if self.first.is_none() {
            self.first = Some(frame);
        } else {
            self.rest.push_back(frame);
        }
    }

    pub(super) fn push_front(&mut self, frame: Bytes) {
        if let Some(second) = self.first.replace(frame) {
            self.rest.push_front(second);
        }
    }

    pub fn pop_front(&mut self) -> Option<Bytes> {
        let rest = self.rest.pop_front();
        std::mem::replace(&mut self.first, rest)
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub fn bytes(&self) -> usize {
        self.iter().map(Bytes::len).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.rest)
    }

    /// Takes `bytes` from the front, whole frames and a part of one.
    pub fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = &mut self.first {
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.first = self.rest.pop_front();
        }
    }
}
