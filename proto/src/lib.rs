//! The contract between clients, gateways, routers and NATS: frames, ids, subjects, offsets, codes and limits.
//!
//! Nothing here does I/O, and nothing here knows tokio.

pub mod code;
pub mod dedup;
pub mod id;
pub mod limits;
pub mod msg_id;
pub mod offset;
mod stored;
pub mod subject;
pub mod target;

/// What clients and gateways say to each other in the protobuf dialect (`client.proto`).
pub mod client {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/herald.v1.rs"));
}

/// What nodes say to each other and keep (`cluster.proto`).
pub mod cluster {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/herald.cluster.v1.rs"));
}

/// What clients of HTTP short connections say and hear when they log in (`login.proto`).
pub mod login {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/herald.login.v1.rs"));
}

pub use code::{CloseCode, ErrorCode};
pub use offset::{LogId, Offset};
pub use target::Target;
