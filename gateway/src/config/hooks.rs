//! Which of the application's services decide with us.

use std::time::Duration;

use herald_router::config::Faults;
use serde::Deserialize;

use super::services::is_name;

/// Each is asked only where it has a table.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HooksSettings {
    pub connect: Option<HookSettings>,
    pub send: Option<HookSettings>,
    pub join: Option<HookSettings>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSettings {
    pub service: String,
    /// None: the hook's name.
    pub method: Option<String>,
    #[serde(default = "timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// What holds where the service does not decide.
    pub on_failure: OnFailure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Fail-open.
    Allow,
    /// Fail-closed.
    Refuse,
}

fn timeout() -> Duration {
    Duration::from_secs(1)
}

/// Clients wait for it, beside all that they wait for anyway.
const LONGEST: Duration = Duration::from_secs(5);

impl HooksSettings {
    fn all(&self) -> impl Iterator<Item = (&'static str, &HookSettings)> {
        let hooks = [("connect", &self.connect), ("send", &self.send), ("join", &self.join)];
        hooks
            .into_iter()
            .filter_map(|(name, hook)| Some((name, hook.as_ref()?)))
    }

    /// Clients may never call these.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.all().map(|(_, hook)| hook.service.as_str())
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        for (name, hook) in self.all() {
            for (setting, value) in [("service", Some(&hook.service)), ("method", hook.method.as_ref())] {
                if value.is_some_and(|value| !is_name(value)) {
                    let what = "must be 1 to 64 letters, digits, - and _";
                    faults.add(format!("hooks.{name}.{setting}"), what);
                }
            }
            if hook.timeout < Duration::from_millis(1) || hook.timeout > LONGEST {
                faults.add(format!("hooks.{name}.timeout"), "must be 1ms to 5s");
            }
        }
    }
}
