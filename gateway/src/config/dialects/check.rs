//! What a dialect's settings may be.

use std::{net::SocketAddr, time::Duration};

use herald_router::config::Faults;

use super::{DialectSettings, DialectsSettings};
use crate::{config::ERROR_OPCODE, dialect::Dialect, paths::Pattern};

/// Served by the gateway itself, with or without dialects.
const NATIVE: [&str; 9] = [
    "/", "/ws", "/login", "/message", "/refresh", "/logout", "/command", "/poll", "/events",
];

impl DialectsSettings {
    pub(in crate::config) fn check(&self, public: &[SocketAddr], faults: &mut Faults) {
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
