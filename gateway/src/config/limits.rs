//! What one client, one address and one message may take.

use std::time::Duration;

use bytesize::ByteSize;
use herald_proto::limits;
use herald_router::config::Faults;
use serde::Deserialize;

use crate::{
    crowd::{Beyond, Rules},
    rate::Rate,
};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    pub frame: ByteSize,
    pub outbox: ByteSize,
    pub commands_per_second: u32,
    pub commands_burst: u32,
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
    /// Set by `--dev`: no limits by address, none on the rate of commands.
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

impl LimitSettings {
    pub(crate) fn crowd(&self) -> Rules {
        Rules {
            most: self.connections_per_user as usize,
            beyond: self.beyond_connections_per_user,
            one_per_device: self.one_connection_per_device,
        }
    }

    pub(crate) fn command_rate(&self) -> Rate {
        match self.rates_lifted {
            true => Rate::unlimited(),
            false => Rate::new(self.commands_per_second, self.commands_burst),
        }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
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
}
