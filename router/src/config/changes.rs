//! What is different between the configuration that runs and one that was read anew. Pure: two trees, and a table that says
//! which settings can change while a node runs.

use toml::{Table, Value};

/// Every setting stands in exactly one of the two lists, by itself or within a table that is named.
pub struct Rules {
    /// They hold at once.
    pub live: &'static [&'static str],
    pub restart: &'static [&'static str],
    /// Of either, those whose values are told to nobody.
    pub secret: &'static [&'static str],
    /// Tables that must neither come nor go while the node runs, though what stands in them may change.
    pub lasting: &'static [&'static str],
}

#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub path: String,
    /// None: not set. Of what is secret neither is told.
    pub values: Option<(Option<String>, Option<String>)>,
    pub live: bool,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        match &self.values {
            Some((before, after)) => write!(f, "{}: {} → {}", self.path, show(before), show(after)),
            None => write!(f, "{}: changed", self.path),
        }
    }
}

impl Rules {
    /// The settings that differ, in the order of their names. `running` then has those that are live as they are in `new`:
    /// what needs a restart is told each time until then.
    pub fn apply(&self, running: &mut Table, new: &Table) -> Vec<Change> {
        let mut paths: Vec<String> = leaves(running).into_iter().chain(leaves(new)).collect();
        paths.sort_unstable();
        paths.dedup();
        let before = running.clone();
        let mut changes = Vec::new();
        for path in paths {
            let (old, fresh) = (at(&before, &path), at(new, &path));
            if old == fresh {
                continue;
            }
            let change = self.change(&before, new, path, old, fresh);
            if change.live {
                put(running, &change.path, fresh.cloned());
            }
            changes.push(change);
        }
        changes
    }

    fn change(&self, before: &Table, new: &Table, path: String, old: Option<&Value>, fresh: Option<&Value>) -> Change {
        let lasts = |table: &&str| at(before, table).is_some() == at(new, table).is_some();
        let stays = self.lasting.iter().filter(|table| is_within(&path, table)).all(lasts);
        let is_in = |list: &[&str]| list.iter().any(|name| is_within(&path, name));
        let values = (!is_in(self.secret)).then(|| (old.map(show), fresh.map(show)));
        Change {
            live: stays && is_in(self.live),
            values,
            path,
        }
    }

    /// What is wrong with the lists, given all settings that there are.
    pub fn faults(&self, settings: &Table) -> Vec<String> {
        let mut faults = Vec::new();
        let paths = leaves(settings);
        for path in &paths {
            let named = self.live.iter().chain(self.restart);
            let count = named.filter(|name| is_within(path, name)).count();
            if count != 1 {
                faults.push(format!("{path} stands in {count} classes"));
            }
        }
        for name in self.live.iter().chain(self.restart).chain(self.secret) {
            if !paths.iter().any(|path| is_within(path, name)) {
                faults.push(format!("there is no setting {name}"));
            }
        }
        faults
    }
}

fn is_within(path: &str, name: &str) -> bool {
    let rest = path.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The paths of all that is no table. A list counts as one setting.
fn leaves(table: &Table) -> Vec<String> {
    let mut paths = Vec::new();
    collect(table, "", &mut paths);
    paths
}

fn collect(table: &Table, within: &str, paths: &mut Vec<String>) {
    for (name, value) in table {
        let path = match within {
            "" => name.clone(),
            within => format!("{within}.{name}"),
        };
        match value {
            Value::Table(inner) => collect(inner, &path, paths),
            _ => paths.push(path),
        }
    }
}

fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((head, rest)) => at(table.get(head)?.as_table()?, rest),
    }
}

/// Sets one setting, or takes it away.
pub fn put(table: &mut Table, path: &str, value: Option<Value>) {
    match (path.split_once('.'), value) {
        (None, Some(value)) => drop(table.insert(path.to_owned(), value)),
        (None, None) => drop(table.remove(path)),
        (Some((head, rest)), value) => {
            let inner = table
                .entry(head.to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// On one line, whatever stands in it.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string().replace(['\n', '\r'], " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        live: &["limits.rate", "keys", "tls"],
        restart: &["node", "limits.size"],
        secret: &["keys"],
        lasting: &["tls"],
    };

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    fn told(running: &mut Table, new: &str) -> Vec<(String, bool)> {
        let changes = RULES.apply(running, &table(new));
        changes.iter().map(|change| (change.to_string(), change.live)).collect()
    }

    #[test]
    fn what_is_live_changes_and_what_is_not_is_told_until_the_restart() {
        let mut running = table("node = 'a'\nkeys = ['hunter2']\n[limits]\nrate = 100\nsize = '1KiB'\n");
        let new = "keys = ['hunter3']\n[limits]\nrate = 50\nsize = '2KiB'\n";
        let size = ("limits.size: \"1KiB\" → \"2KiB\"".to_owned(), false);
        let node = ("node: \"a\" → not set".to_owned(), false);
        let first = [
            ("keys: changed".to_owned(), true),
            ("limits.rate: 100 → 50".to_owned(), true),
            size.clone(),
            node.clone(),
        ];
        assert_eq!(told(&mut running, new), first);
        assert_eq!(told(&mut running, new), [size, node]);
        let before = "node = 'a'\nkeys = ['hunter3']\n[limits]\nrate = 50\nsize = '1KiB'\n";
        assert_eq!(told(&mut running, before), []);
    }

    #[test]
    fn a_table_that_must_last_may_change_and_not_come_or_go() {
        let mut running = table("");
        let come = "[tls]\ncert = 'a'\n";
        assert_eq!(
            told(&mut running, come),
            [("tls.cert: not set → \"a\"".to_owned(), false)]
        );
        let mut running = table(come);
        assert_eq!(
            told(&mut running, "[tls]\ncert = 'b'\n"),
            [("tls.cert: \"a\" → \"b\"".to_owned(), true)]
        );
    }

    #[test]
    fn lists_that_miss_or_double_a_setting_are_found() {
        let settings = table("node = 'a'\nkeys = []\nnew = 1\n[limits]\nrate = 1\nsize = 1\n[tls]\ncert = 'a'\n");
        assert_eq!(RULES.faults(&settings), ["new stands in 0 classes"]);
        let doubled = Rules {
            restart: &["node", "limits", "new", "gone"],
            ..RULES
        };
        let faults = ["limits.rate stands in 2 classes", "there is no setting gone"];
        assert_eq!(doubled.faults(&settings), faults);
    }
}
