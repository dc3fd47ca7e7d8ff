//! What one client, one user, one address, one message and all of them together may take.

use std::time::Duration;

use bytesize::ByteSize;
use herald_proto::limits;
use herald_router::config::Faults;
use serde::Deserialize;

use crate::crowd::{Beyond, Rules};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    pub frame: ByteSize,
    pub outbox: ByteSize,
    pub commands_per_second: u32,
    pub commands_burst: u32,
    pub bytes_per_second: ByteSize,
    pub bytes_burst: ByteSize,
    /// Of all of a user's connections and requests; None: twice one connection's.
    pub user_commands_per_second: Option<u32>,
    pub user_commands_burst: Option<u32>,
    pub user_bytes_per_second: Option<ByteSize>,
    pub user_bytes_burst: Option<ByteSize>,
    /// Of the whole node.
    pub connections: u32,
    pub node_connects_per_second: u32,
    pub node_connects_burst: u32,
    /// Memory of the process beyond which nobody is let in any more.
    pub memory: Option<ByteSize>,
    pub connections_per_address: u32,
    pub connects_per_second: u32,
    pub connects_burst: u32,
    pub http_body: ByteSize,
    pub connections_per_user: u32,
    pub beyond_connections_per_user: Beyond,
    pub one_connection_per_device: bool,
    pub watches_per_connection: u32,
    /// Calls to backends, of all clients together.
    pub calls_in_flight: u32,
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    #[serde(with = "humantime_serde")]
    pub pong_timeout: Duration,
    /// Set by `--dev`: no limits by address, none on rates.
    #[serde(skip)]
    pub rates_lifted: bool,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            frame: ByteSize::b(limits::FRAME_BYTES),
            outbox: ByteSize::b(limits::OUTBOX_BYTES),
            commands_per_second: limits::COMMANDS_PER_SECOND,
            commands_burst: limits::COMMANDS_BURST,
            bytes_per_second: ByteSize::b(limits::BYTES_PER_SECOND),
            bytes_burst: ByteSize::b(limits::BYTES_BURST),
            user_commands_per_second: None,
            user_commands_burst: None,
            user_bytes_per_second: None,
            user_bytes_burst: None,
            connections: limits::CONNECTIONS,
            node_connects_per_second: limits::NODE_CONNECTS_PER_SECOND,
            node_connects_burst: limits::NODE_CONNECTS_BURST,
            memory: None,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
            connects_per_second: limits::CONNECTS_PER_SECOND,
            connects_burst: limits::CONNECTS_BURST,
            http_body: ByteSize::b(limits::HTTP_BODY_BYTES),
            connections_per_user: limits::CONNECTIONS_PER_USER,
            beyond_connections_per_user: Beyond::Reject,
            one_connection_per_device: false,
            watches_per_connection: limits::WATCHES,
            calls_in_flight: limits::CALLS_IN_FLIGHT,
            connect_timeout: limits::CONNECT,
            ping_interval: limits::PING,
            pong_timeout: limits::PONG,
            rates_lifted: false,
        }
    }
}

/// How much more than one connection all of a user's may do, where nothing is said.
const OF_A_USER: u32 = 2;

impl LimitSettings {
    pub(crate) fn crowd(&self) -> Rules {
        Rules {
            most: self.connections_per_user as usize,
            beyond: self.beyond_connections_per_user,
            one_per_device: self.one_connection_per_device,
        }
    }

    /// Commands of a user: each second, and at once.
    pub(crate) fn user_commands(&self) -> [u64; 2] {
        let twice = |own: Option<u32>, of_one: u32| u64::from(own.unwrap_or(of_one.saturating_mul(OF_A_USER)));
        [
            twice(self.user_commands_per_second, self.commands_per_second),
            twice(self.user_commands_burst, self.commands_burst),
        ]
    }

    /// The same of its bytes.
    pub(crate) fn user_bytes(&self) -> [u64; 2] {
        let twice = |own: Option<ByteSize>, of_one: ByteSize| {
            own.map_or(of_one.as_u64().saturating_mul(u64::from(OF_A_USER)), |own| own.as_u64())
        };
        [
            twice(self.user_bytes_per_second, self.bytes_per_second),
            twice(self.user_bytes_burst, self.bytes_burst),
        ]
    }

    /// `largest`: the largest frame of any dialect that is spoken.
    pub(super) fn check(&self, largest: ByteSize, faults: &mut Faults) {
        let frame = self.frame.as_u64();
        if !(128..=16 << 20).contains(&frame) {
            faults.add("limits.frame", "must be 128B to 16MiB");
        }
        if self.outbox.as_u64() < frame.saturating_mul(2) {
            faults.add("limits.outbox", "must hold at least two frames of limits.frame");
        }
        for (name, value) in [
            ("commands_per_second", self.commands_per_second),
            ("commands_burst", self.commands_burst),
            ("user_commands_per_second", self.user_commands_per_second.unwrap_or(1)),
            ("user_commands_burst", self.user_commands_burst.unwrap_or(1)),
            ("connections", self.connections),
            ("node_connects_per_second", self.node_connects_per_second),
            ("node_connects_burst", self.node_connects_burst),
            ("connections_per_address", self.connections_per_address),
            ("connects_per_second", self.connects_per_second),
            ("connects_burst", self.connects_burst),
            ("connections_per_user", self.connections_per_user),
            ("watches_per_connection", self.watches_per_connection),
            ("calls_in_flight", self.calls_in_flight),
        ] {
            if value == 0 {
                faults.add(format!("limits.{name}"), "must be at least 1");
            }
        }
        self.check_bytes(largest, faults);
        // Beyond this answers over NATS might not find room to wait.
        if self.calls_in_flight > 8_192 {
            faults.add("limits.calls_in_flight", "must be at most 8192");
        }
        if self.http_body.as_u64() < 1024 {
            faults.add("limits.http_body", "must be at least 1KiB");
        }
        let second = Duration::from_secs(1);
        if self.connect_timeout < second / 10 {
            faults.add("limits.connect_timeout", "must be at least 100ms");
        }
        if self.ping_interval < second / 10 || self.ping_interval > 3600 * second {
            faults.add("limits.ping_interval", "must be 100ms to 1h");
        }
        if self.pong_timeout.is_zero() || self.pong_timeout >= self.ping_interval {
            faults.add(
                "limits.pong_timeout",
                "must be more than zero and less than limits.ping_interval",
            );
        }
    }

    /// What may come at once must fit, or it could never come.
    fn check_bytes(&self, largest: ByteSize, faults: &mut Faults) {
        let user = self.user_bytes_per_second.unwrap_or(self.bytes_per_second);
        for (name, value) in [
            ("bytes_per_second", self.bytes_per_second),
            ("user_bytes_per_second", user),
        ] {
            if value < ByteSize::kib(1) {
                faults.add(format!("limits.{name}"), "must be at least 1KiB");
            }
        }
        // A frame comes with a header, and its JSON in a request.
        let room = largest.as_u64().saturating_add(1024);
        if self.bytes_burst.as_u64() < room {
            let least = format!(
                "must be at least {} more than the largest frame, {largest}",
                ByteSize::kib(1)
            );
            faults.add("limits.bytes_burst", least);
        }
        if self.user_bytes_burst.is_some_and(|burst| burst.as_u64() < room) {
            faults.add(
                "limits.user_bytes_burst",
                "must hold the largest frame, as limits.bytes_burst",
            );
        }
        if self.memory.is_some_and(|memory| memory < ByteSize::mib(16)) {
            faults.add("limits.memory", "must be at least 16MiB");
        }
    }
}
