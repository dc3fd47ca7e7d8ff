//! What stands in the files that a configuration names: keys, certificates, passwords. Kept is only whether it is still the same.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    fs,
    hash::BuildHasher,
};

use toml::{Table, Value};

/// By the setting's path: the file, and a hash of what it held. None: it could not be read.
pub(super) struct Files {
    hasher: RandomState,
    held: BTreeMap<String, (String, Option<u64>)>,
}

impl Files {
    pub fn of(tree: &Table) -> Self {
        Self::hashed_by(RandomState::new(), tree)
    }

    fn hashed_by(hasher: RandomState, tree: &Table) -> Self {
        let mut named = Vec::new();
        collect(&Value::Table(tree.clone()), "", &mut named);
        let held = named.into_iter().map(|(setting, file)| {
            let hash = fs::read(&file).ok().map(|bytes| hasher.hash_one(bytes));
            (setting, (file, hash))
        });
        Self {
            held: held.collect(),
            hasher,
        }
    }

    /// The same settings as they are now.
    pub fn again(&self, tree: &Table) -> Self {
        Self::hashed_by(self.hasher.clone(), tree)
    }

    /// The settings that name the same file as before, which holds something else.
    pub fn changed_since(&self, before: &Self) -> Vec<String> {
        let changed = self.held.iter().filter(|(setting, (file, hash))| {
            let before = before.held.get(*setting);
            before.is_some_and(|(other, held)| other == file && held != hash)
        });
        changed.map(|(setting, _)| setting.clone()).collect()
    }
}

/// Settings that name files end so.
const NAMES_A_FILE: &str = "_file";

fn collect(value: &Value, path: &str, named: &mut Vec<(String, String)>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(value, &path, named);
            }
        }
        Value::Array(values) => {
            for (i, value) in values.iter().enumerate() {
                collect(value, &format!("{path}[{i}]"), named);
            }
        }
        Value::String(file) if path.ends_with(NAMES_A_FILE) => named.push((path.to_owned(), file.clone())),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_something_else_is_told_by_its_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let tree: Table = toml::from_str(&format!(
            "[admin.tls]\ncert_file = '{path}'\nkey_file = '/nowhere'\n[[auth.keys]]\nsecret_file = '{path}'\nkid = '{path}'\n"
        ))
        .unwrap();
        fs::write(path, "one").unwrap();
        let before = Files::of(&tree);
        assert_eq!(before.again(&tree).changed_since(&before), [""; 0]);
        fs::write(path, "two").unwrap();
        let changed = before.again(&tree).changed_since(&before);
        assert_eq!(changed, ["admin.tls.cert_file", "auth.keys[0].secret_file"]);
        // Another file is a change of the setting, which is told as that.
        assert_eq!(before.again(&Table::new()).changed_since(&before), [""; 0]);
    }
}
