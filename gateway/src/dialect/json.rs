//! The native JSON dialect, subprotocol `herald.v1.json`: text frames, one object each. The same objects stand in the
//! HTTP answers of those who only POST.

mod decode;
mod encode;
mod presence;

pub(super) use decode::decode;
pub use encode::{Shape, answer, message};
pub(super) use encode::{push, write};
