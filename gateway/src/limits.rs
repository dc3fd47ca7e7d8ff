//! The limits that hold now. They are read where they are needed, at a connect or a command, and never on delivery, so that
//! they can be changed while the node runs.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::RwLock;
use serde_json::Value;

use crate::{config::LimitSettings, rate::Rate};

/// What is built into something that begins with the process: another value needs a restart.
const NEEDS_RESTART: [&str; 3] = ["calls_in_flight", "ping_interval", "pong_timeout"];

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
    /// connection keeps. `settings` have been checked. What needs a restart stays as it was.
    pub fn reload(&self, settings: &LimitSettings) -> Changes {
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
        Changes::between(&before, settings)
    }
}

/// What a reload came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub applied: Vec<Change>,
    /// These stay as they were until the node is started again.
    pub needs_restart: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// As in the configuration, `limits.frame`.
    pub name: String,
    pub from: String,
    pub to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} becomes {}", self.name, self.from, self.to)
    }
}

impl Changes {
    fn between(before: &LimitSettings, after: &LimitSettings) -> Self {
        let (before, after) = (fields(before), fields(after));
        let mut changes = Self::default();
        for (name, to) in after {
            let from = before.get(&name).cloned().unwrap_or_default();
            if from == to {
                continue;
            }
            let kind = match NEEDS_RESTART.contains(&name.as_str()) {
                true => &mut changes.needs_restart,
                false => &mut changes.applied,
            };
            kind.push(Change {
                name: format!("limits.{name}"),
                from: shown(&from),
                to: shown(&to),
            });
        }
        changes
    }
}

/// By name, so that no setting can be forgotten here.
fn fields(settings: &LimitSettings) -> BTreeMap<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields.into_iter().collect(),
        // Numbers, texts and nothing else.
        Ok(_) | Err(_) => BTreeMap::new(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "unset".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
