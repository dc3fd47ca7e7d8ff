//! The wire formats of others, each served where the configuration says.

use std::{net::SocketAddr, time::Duration};

use bytesize::ByteSize;
use herald_proto::limits;
use herald_router::config::Faults;
use serde::Deserialize;

use super::ERROR_OPCODE;
use crate::{dialect::Dialect, paths::Pattern};

/// The opcode of pushes where nothing else is said.
const PUSH_OPCODE: u32 = 1;

/// Served by the gateway itself, with or without dialects.
const NATIVE: [&str; 9] = [
    "/", "/ws", "/login", "/message", "/refresh", "/logout", "/command", "/poll", "/events",
];

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

    pub(super) fn check(&self, public: &[SocketAddr], faults: &mut Faults) {
        for (set, default, dialect) in self.all() {
            set.check(&format!("dialects.{}", default.name), dialect, public, faults);
        }
        for spoken in self.spoken() {
            let name = format!("dialects.{}", spoken.dialect.name());
            if !(128..=16 << 20).contains(&spoken.frame.as_u64()) {
                faults.add(format!("{name}.frame"), "must be 128B to 16MiB");
            }
            let (ping, pong) = (spoken.ping_interval, spoken.pong_timeout);
            if ping < Duration::from_millis(100) || ping > Duration::from_secs(3600) {
                faults.add(format!("{name}.ping_interval"), "must be 100ms to 1h");
            }
            if pong.is_zero() || pong >= ping {
                faults.add(
                    format!("{name}.pong_timeout"),
                    "must be more than zero and less than its ping_interval",
                );
            }
        }
        self.check_clashes(faults);
    }

    /// No request may have two meanings.
    fn check_clashes(&self, faults: &mut Faults) {
        let mut taken: Vec<(Pattern, Option<SocketAddr>)> = Vec::new();
        taken.extend(NATIVE.iter().map(|path| (Pattern::new(path), None)));
        for spoken in self.spoken() {
            for path in spoken.paths {
                let pattern = Pattern::new(path);
                let same_place = |other: Option<SocketAddr>| match (other, spoken.listen) {
                    (Some(one), Some(other)) => one == other,
                    _ => true,
                };
                if taken
                    .iter()
                    .any(|(other, at)| same_place(*at) && other.overlaps(&pattern))
                {
                    let name = format!("dialects.{}.paths", spoken.dialect.name());
                    faults.add(name, format!("{path} is taken already"));
                }
                taken.push((pattern, spoken.listen));
            }
        }
    }
}

impl DialectSettings {
    fn check(&self, name: &str, dialect: Dialect, public: &[SocketAddr], faults: &mut Faults) {
        for path in &self.paths {
            let pattern = Pattern::new(path);
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
            let paths = format!("{name}.paths");
            if !path.starts_with('/') || !path.bytes().all(plain) {
                faults.add(paths, format!("{path:?} is no path"));
            } else if pattern.ids() != usize::from(dialect == Dialect::WsId) || path.matches(['{', '}']).count() > 2 {
                faults.add(
                    paths,
                    format!("{path}: {{id}} stands once in a path of ws-id, and in no other"),
                );
            }
        }
        if self.listen.is_some_and(|address| !public.contains(&address)) {
            faults.add(format!("{name}.listen"), "must be one of public.listen");
        }
        match (self.push_opcode, dialect) {
            (None, _) => {}
            (Some(ERROR_OPCODE), _) => faults.add(format!("{name}.push_opcode"), "is the opcode of errors"),
            (Some(_), Dialect::Opcode(_)) => {}
            (Some(_), _) => faults.add(format!("{name}.push_opcode"), "is for dialects.opcode only"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        let settings: DialectsSettings = toml::from_str(text).unwrap();
        let mut faults = Faults::default();
        settings.check(&["127.0.0.1:8080".parse().unwrap()], &mut faults);
        faults.to_string()
    }

    #[test]
    fn no_path_has_two_meanings() {
        for (text, named) in [
            (
                "[im]\npaths = ['/a']\n[hub]\npaths = ['/b', '/a']",
                "dialects.hub.paths",
            ),
            ("[hub]\npaths = ['/ws']", "dialects.hub.paths"),
            (
                "[ws-id]\npaths = ['/ws/{id}']\n[hub]\npaths = ['/ws/7']",
                "dialects.ws-id.paths",
            ),
            ("[ws-id]\npaths = ['/{id}']", "dialects.ws-id.paths"),
            ("[ws-id]\npaths = ['/ws']", "dialects.ws-id.paths"),
            ("[im]\npaths = ['/{id}']", "dialects.im.paths"),
            ("[im]\npaths = ['a']", "dialects.im.paths"),
            ("[im]\npaths = ['/a?b']", "dialects.im.paths"),
            ("[im]\nlisten = '127.0.0.1:8888'", "dialects.im.listen"),
            ("[im]\npush_opcode = 2", "dialects.im.push_opcode"),
            ("[opcode]\npush_opcode = 4294967295", "dialects.opcode.push_opcode"),
            (
                "[echo]\npaths = ['/e']\nping_interval = '5s'",
                "dialects.echo.pong_timeout",
            ),
            ("[echo]\npaths = ['/e']\nframe = '1B'", "dialects.echo.frame"),
        ] {
            assert!(faults(text).starts_with(named), "{text}: {}", faults(text));
        }
        for text in [
            "[ws-id]\npaths = ['/ws/{id}', '/v2/{id}/hub']\n[echo]\npaths = ['/echo', '/serv/echo']",
            "[opcode]\npaths = ['/serv/']\npush_opcode = 7\nlisten = '127.0.0.1:8080'",
        ] {
            assert_eq!(faults(text), "", "{text}");
        }
    }

    #[test]
    fn in_development_all_are_where_their_articles_have_them() {
        let mut settings = DialectsSettings::default();
        assert_eq!(settings.spoken().count(), 0, "off unless configured");
        settings.develop();
        let paths: Vec<&str> = settings
            .spoken()
            .flat_map(|spoken| spoken.paths)
            .map(String::as_str)
            .collect();
        assert_eq!(paths, ["/socket.io", "/serv/", "/echo", "/hub", "/ws/{id}"]);
        assert!(settings.spoken().all(|spoken| spoken.trust_url_id));
        let mut faults = Faults::default();
        settings.check(&[], &mut faults);
        assert!(faults.is_empty(), "{faults}");
    }
}
