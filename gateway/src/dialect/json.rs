//! The native JSON dialect, subprotocol `herald.v1.json`: text frames, one object each.

mod decode;
mod encode;
mod presence;

pub(super) use decode::decode;
pub(super) use encode::{answer, push};
