//! The wire formats of others, each served where the configuration says.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use herald_proto::limits;
use serde::Deserialize;

use crate::dialect::Dialect;

mod check;

/// The opcode of pushes where nothing else is said.
const PUSH_OPCODE: u32 = 1;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DialectsSettings {
    pub im: DialectSettings,
    pub opcode: DialectSettings,
    pub echo: DialectSettings,
    pub hub: DialectSettings,
    /// The environment's names have no hyphens.
    #[serde(rename = "ws-id", alias = "ws_id")]
    pub ws_id: DialectSettings,
}

/// What is unset is the dialect's own default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DialectSettings {
    /// None: not served.
    pub paths: Vec<String>,
    /// None: on all public addresses.
    pub listen: Option<SocketAddr>,
    pub frame: Option<ByteSize>,
    #[serde(with = "humantime_serde::option")]
    pub ping_interval: Option<Duration>,
    #[serde(with = "humantime_serde::option")]
    pub pong_timeout: Option<Duration>,
    pub trust_url_id: Option<bool>,
    /// Of `opcode` only.
    pub push_opcode: Option<u32>,
}

/// What holds for a dialect where nothing is said.
struct Defaults {
    name: &'static str,
    /// With `--dev`: where its article has it.
    paths: &'static [&'static str],
    frame: ByteSize,
    ping: Duration,
    pong: Duration,
}

/// The native limits.
const USUAL: Defaults = Defaults {
    name: "",
    paths: &[],
    frame: ByteSize::b(limits::FRAME_BYTES),
    ping: limits::PING,
    pong: limits::PONG,
};

const IM: Defaults = Defaults {
    name: "im",
    paths: &["/socket.io"],
    // Files come in one frame.
    frame: ByteSize::mib(1),
    // Who answers no pings gives a sign of life every 10 s of its own, which must be enough.
    pong: Duration::from_secs(22),
    ..USUAL
};

const OPCODE: Defaults = Defaults {
    name: "opcode",
    paths: &["/serv/"],
    ..USUAL
};

const ECHO: Defaults = Defaults {
    name: "echo",
    paths: &["/echo"],
    ..USUAL
};

const HUB: Defaults = Defaults {
    name: "hub",
    paths: &["/hub"],
    ..USUAL
};

const WS_ID: Defaults = Defaults {
    name: "ws-id",
    paths: &["/ws/{id}"],
    frame: ByteSize::b(512),
    ping: Duration::from_secs(9),
    // Gone before the 10 s after the ping are over, and answered before the next ping.
    pong: Duration::from_secs(8),
};

/// One dialect with all that holds for it.
#[derive(Debug, Clone)]
pub struct Spoken<'a> {
    pub dialect: Dialect,
    pub paths: &'a [String],
    pub listen: Option<SocketAddr>,
    pub frame: ByteSize,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub trust_url_id: bool,
}

impl DialectsSettings {
    fn all(&self) -> [(&DialectSettings, &'static Defaults, Dialect); 5] {
        let push = self.opcode.push_opcode.unwrap_or(PUSH_OPCODE);
        [
            (&self.im, &IM, Dialect::Im),
            (&self.opcode, &OPCODE, Dialect::Opcode(push)),
            (&self.echo, &ECHO, Dialect::Echo),
            (&self.hub, &HUB, Dialect::Hub),
            (&self.ws_id, &WS_ID, Dialect::WsId),
        ]
    }

    /// Of those that are served, and the native ones', which is given.
    pub fn largest_frame(&self, native: ByteSize) -> ByteSize {
        self.spoken().map(|spoken| spoken.frame).fold(native, ByteSize::max)
    }

    /// Those that are served.
    pub fn spoken(&self) -> impl Iterator<Item = Spoken<'_>> {
        let served = self.all().into_iter().filter(|(set, ..)| !set.paths.is_empty());
        served.map(|(set, default, dialect)| Spoken {
            dialect,
            paths: &set.paths,
            listen: set.listen,
            frame: set.frame.unwrap_or(default.frame),
            ping_interval: set.ping_interval.unwrap_or(default.ping),
            pong_timeout: set.pong_timeout.unwrap_or(default.pong),
            trust_url_id: set.trust_url_id.unwrap_or(false),
        })
    }

    /// All are on at their articles' paths, and believe who clients say they are.
    pub(super) fn develop(&mut self) {
        let Self {
            im,
            opcode,
            echo,
            hub,
            ws_id,
        } = self;
        for (set, default) in [
            (im, &IM),
            (opcode, &OPCODE),
            (echo, &ECHO),
            (hub, &HUB),
            (ws_id, &WS_ID),
        ] {
            if set.paths.is_empty() {
                set.paths = default.paths.iter().map(|&path| path.to_owned()).collect();
            }
            set.trust_url_id.get_or_insert(true);
        }
    }
}

#[cfg(test)]
mod tests;
