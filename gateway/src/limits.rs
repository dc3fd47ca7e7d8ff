//! The limits that hold now. They are read where they are needed, at a connect or a command, and never on delivery, so that
//! they can be changed while the node runs.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::{config::LimitSettings, rate::Rate};

pub struct Limits(RwLock<Current>);

struct Current {
    settings: Arc<LimitSettings>,
    rates: Rates,
}

/// All rates. None of them where they are lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    pub connection: PaceRates,
    pub user: PaceRates,
    /// Connects of one address.
    pub address_connects: Rate,
    /// Connects of the whole node.
    pub node_connects: Rate,
}

/// Of commands, and of the bytes that they come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceRates {
    pub commands: Rate,
    pub bytes: Rate,
}

impl PaceRates {
    pub const UNLIMITED: Self = Self {
        commands: Rate::unlimited(),
        bytes: Rate::unlimited(),
    };
}

impl Rates {
    fn new(settings: &LimitSettings) -> Self {
        if settings.rates_lifted {
            return Self {
                connection: PaceRates::UNLIMITED,
                user: PaceRates::UNLIMITED,
                address_connects: Rate::unlimited(),
                node_connects: Rate::unlimited(),
            };
        }
        let ([commands, commands_burst], [bytes, bytes_burst]) = (settings.user_commands(), settings.user_bytes());
        let rate = |per_second: u32, burst: u32| Rate::new(per_second.into(), burst.into());
        Self {
            connection: PaceRates {
                commands: rate(settings.commands_per_second, settings.commands_burst),
                bytes: Rate::new(settings.bytes_per_second.as_u64(), settings.bytes_burst.as_u64()),
            },
            user: PaceRates {
                commands: Rate::new(commands, commands_burst),
                bytes: Rate::new(bytes, bytes_burst),
            },
            address_connects: rate(settings.connects_per_second, settings.connects_burst),
            node_connects: rate(settings.node_connects_per_second, settings.node_connects_burst),
        }
    }
}

impl Current {
    fn new(settings: LimitSettings) -> Self {
        Self {
            rates: Rates::new(&settings),
            settings: Arc::new(settings),
        }
    }
}

impl Limits {
    /// `settings` have been checked.
    pub fn new(settings: LimitSettings) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Current::new(settings))))
    }

    /// What holds at this moment.
    pub fn now(&self) -> Arc<LimitSettings> {
        self.0.read().settings.clone()
    }

    pub fn rates(&self) -> Rates {
        self.0.read().rates
    }

    /// From now on these hold, for whoever is connected as well, but for the sizes of frames and outboxes, which each
    /// connection keeps. `settings` have been checked. What is built into something that
    /// begins with the process stays as it was (`config::RULES` has it under `restart`).
    pub fn reload(&self, settings: &LimitSettings) {
        let mut current = self.0.write();
        let before = current.settings.clone();
        let after = LimitSettings {
            calls_in_flight: before.calls_in_flight,
            ping_interval: before.ping_interval,
            pong_timeout: before.pong_timeout,
            rates_lifted: before.rates_lifted,
            ..settings.clone()
        };
        *current = Current::new(after);
    }
}

#[cfg(test)]
mod tests;
