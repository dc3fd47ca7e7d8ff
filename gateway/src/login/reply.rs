//! What one who is let in is told.

use bytes::{Bytes, BytesMut};
use herald_proto::login::Reply;
use prost::Message;

use super::answer::{Completion, Welcome};
use crate::auth::unix_now;

/// The application's own bytes where it gave them, with what the second service has added: protobuf messages that are
/// put one behind the other read as one.
pub(super) fn to(welcome: &Welcome, completed: &Completion) -> Bytes {
    let mut reply = BytesMut::new();
    match &welcome.bytes {
        Some(bytes) => reply.extend_from_slice(bytes),
        None => {
            let own = Reply {
                err_code: 0,
                user_id: welcome.user.parse().unwrap_or(0),
                account: welcome.account.clone(),
                user_brief: Bytes::new(),
                server_time: i64::try_from(unix_now()).unwrap_or(i64::MAX),
            };
            reply.extend_from_slice(&own.encode_to_vec());
        }
    }
    let brief = Reply {
        user_brief: completed.user_brief.clone(),
        ..Reply::default()
    };
    reply.extend_from_slice(&brief.encode_to_vec());
    reply.extend_from_slice(&completed.bytes);
    reply.freeze()
}
