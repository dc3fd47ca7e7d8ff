//! From text and environment to a checked value, or to the list of everything that is wrong.

use std::{collections::HashMap, fmt};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub path: String,
    pub what: String,
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.0.push(Fault {
            path: path.into(),
            what: what.into(),
        });
    }

    /// Whether something under `path` is wrong already: what follows from it need not be said.
    pub fn has(&self, path: &str) -> bool {
        self.0.iter().any(|fault| fault.path.starts_with(path))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The value, if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Faults> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let end = if i + 1 < self.0.len() { "\n" } else { "" };
            write!(f, "{}: {}{end}", fault.path, fault.what)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The path of a fault that leaves nothing to check.
const UNREADABLE: &str = "line ";

impl Faults {
    pub fn nothing_to_check(&self) -> bool {
        self.has(UNREADABLE)
    }
}

/// Reads `text` and lays `env` over it: `HERALD_LOG__MAX_AGE=2h` is `max_age` in `[log]`. Names without a double
/// underscore count only if they are one of `top`: other programs set variables that begin with `HERALD_` too.
/// What is wrong is left out of the value, so that the check of the rest can go on.
pub fn parse<T: DeserializeOwned + Default>(
    text: &str,
    env: impl Iterator<Item = (String, String)>,
    top: &[&str],
) -> (T, Faults) {
    let mut faults = Faults::default();
    let mut table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
            faults.add(format!("{UNREADABLE}{line}"), error.message().replace('\n', " "));
            return (T::default(), faults);
        }
    };
    let from_env = overlay_all(&mut table, env, top);
    (extract(table, &from_env, &mut faults), faults)
}

/// What the environment says, by path.
fn overlay_all(
    table: &mut Table,
    env: impl Iterator<Item = (String, String)>,
    top: &[&str],
) -> HashMap<String, String> {
    let mut from_env = HashMap::new();
    for (name, value) in env {
        let Some(name) = name.strip_prefix("HERALD_") else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        let path: Vec<&str> = name.split("__").collect();
        if path.len() > 1 || top.contains(&name.as_str()) {
            from_env.insert(path.join("."), value.clone());
            overlay(table, &path, value);
        }
    }
    from_env
}

/// All settings as they stand in `text` and `env`, and else in `defaults`, to be compared with another such tree. Where
/// `text` is no TOML, nothing of it.
pub fn tree(defaults: &str, text: &str, env: impl Iterator<Item = (String, String)>, top: &[&str]) -> Table {
    let mut tree = defaults.parse::<Table>().unwrap_or_default();
    let mut table = text.parse::<Table>().unwrap_or_default();
    overlay_all(&mut table, env, top);
    merge(&mut tree, table);
    tree
}

fn merge(tree: &mut Table, over: Table) {
    for (name, value) in over {
        match (tree.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => drop(tree.insert(name, value)),
        }
    }
}

/// Of a commented default configuration all settings, those without a default too.
pub fn uncommented(defaults: &str) -> String {
    let lines = defaults.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Sets one value; text that is no TOML value (`2h`) is a string.
fn overlay(table: &mut Table, path: &[&str], value: String) {
    let [head, rest @ ..] = path else { return };
    if rest.is_empty() {
        let parsed = format!("v = {value}").parse::<Table>().ok();
        let parsed = parsed.and_then(|mut t| t.remove("v"));
        table.insert((*head).to_owned(), parsed.unwrap_or(Value::String(value)));
        return;
    }
    let inner = table.entry(*head).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        overlay(inner, rest, value);
    }
}

/// Deserialisation stops at the first fault. So the faulty part is taken out and it begins again, until nothing is
/// wrong any more; each round removes something, so it ends.
fn extract<T: DeserializeOwned + Default>(table: Table, from_env: &HashMap<String, String>, faults: &mut Faults) -> T {
    let mut value = Value::Table(table);
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
            Ok(config) => return config,
            Err(error) => error,
        };
        let what = error.inner().message().replace('\n', " ");
        let mut path: Vec<Step> = error.path().iter().filter_map(Step::of).collect();
        if let Some(field) = unknown_field(&what)
            && !matches!(path.last(), Some(Step::Key(key)) if key == field)
        {
            path.push(Step::Key(field.to_owned()));
        }
        if let Some(value) = at(&mut value, &path)
            && let Some(text) = from_env.get(&show(&path))
            && let Some(meant) = meant(text, &what, value)
        {
            *value = meant;
            continue;
        }
        faults.add(show(&path), what);
        if path.is_empty() || !remove(&mut value, &path) {
            return T::default();
        }
    }
}

/// The environment knows only text: `17` may be meant as a string, and `a,b` as a list. None: neither, or tried before.
fn meant(text: &str, what: &str, tried: &Value) -> Option<Value> {
    let meant = if what.contains("expected a sequence") {
        Value::Array(
            text.split(',')
                .map(|item| Value::String(item.trim().to_owned()))
                .collect(),
        )
    } else if what.contains("expected a string") {
        Value::String(text.to_owned())
    } else {
        return None;
    };
    (meant != *tried).then_some(meant)
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match (step, value) {
        (Step::Key(key), Value::Table(table)) => table.get_mut(key),
        (Step::Index(index), Value::Array(array)) => array.get_mut(*index),
        _ => None,
    })
}

fn unknown_field(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

#[derive(Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn of(segment: &serde_path_to_error::Segment) -> Option<Step> {
        use serde_path_to_error::Segment;
        match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

fn show(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

fn remove(value: &mut Value, path: &[Step]) -> bool {
    let [step, rest @ ..] = path else {
        return false;
    };
    match (step, value) {
        (Step::Key(key), Value::Table(table)) if rest.is_empty() => table.remove(key).is_some(),
        (Step::Key(key), Value::Table(table)) => table.get_mut(key).is_some_and(|v| remove(v, rest)),
        (Step::Index(index), Value::Array(array)) if rest.is_empty() => {
            let there = *index < array.len();
            if there {
                array.remove(*index);
            }
            there
        }
        (Step::Index(index), Value::Array(array)) => array.get_mut(*index).is_some_and(|v| remove(v, rest)),
        _ => false,
    }
}
