//! What one client has heard of each target, judged as PROTOCOL.md has clients judge it: by offset.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

/// One stored message as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub sequence: u64,
    pub id: String,
    pub body: Value,
}

/// What became of one push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    New,
    /// Its offset had been seen: dropped.
    Repeated,
    /// New, but older than one of the same target that was heard before it.
    Late,
    /// Not stored: it has no offset.
    Ephemeral,
}

#[derive(Debug, Default)]
pub struct Heard {
    /// The new ones of each target, in the order in which they came; targets as [`target_of`] names them.
    pub targets: BTreeMap<String, Vec<Item>>,
    /// How many were dropped because their offset was known.
    pub repeated: usize,
    /// How many came after a newer one of their target.
    pub late: usize,
    seen: HashSet<(String, u64)>,
    highest: BTreeMap<(String, String), u64>,
}

/// `user.<id>`, `group.<id>` or `all`.
pub fn target_of(to: &Value) -> String {
    for kind in ["user", "group"] {
        if let Some(id) = to[kind].as_str() {
            return format!("{kind}.{id}");
        }
    }
    assert_eq!(to["all"], true, "a target: {to}");
    "all".to_owned()
}

/// The log and the place in it that an offset names.
pub fn split(offset: &Value) -> (String, u64) {
    let parts = offset.as_str().and_then(|text| text.rsplit_once(':'));
    let (log, sequence) = parts.unwrap_or_else(|| panic!("{offset} is no offset"));
    let sequence = sequence.parse();
    (
        log.to_owned(),
        sequence.unwrap_or_else(|_| panic!("{offset} is no offset")),
    )
}

impl Heard {
    /// Notes a push's content. `user` is who heard it: everything sent to a user is in the own inbox, copies of what
    /// the own other devices sent too.
    pub fn note(&mut self, user: &str, message: &Value) -> Verdict {
        let Some(offset) = message.get("offset") else {
            return Verdict::Ephemeral;
        };
        let (log, sequence) = split(offset);
        if !self.seen.insert((log.clone(), sequence)) {
            self.repeated += 1;
            return Verdict::Repeated;
        }
        let target = match message["to"].get("user") {
            Some(_) => format!("user.{user}"),
            None => target_of(&message["to"]),
        };
        let highest = self.highest.entry((target.clone(), log)).or_default();
        let late = sequence < *highest;
        *highest = sequence.max(*highest);
        self.targets.entry(target).or_default().push(Item {
            sequence,
            id: message["id"].as_str().expect("an id").to_owned(),
            body: message["body"].clone(),
        });
        if late {
            self.late += 1;
            return Verdict::Late;
        }
        Verdict::New
    }

    /// The log is no longer what it was: the same offsets may come again with other messages.
    pub fn forget_offsets(&mut self) {
        self.seen.clear();
        self.highest.clear();
    }

    /// How many different stored messages were heard.
    pub fn count(&self) -> usize {
        self.targets.values().map(Vec::len).sum()
    }

    pub fn of(&self, target: &str) -> &[Item] {
        self.targets.get(target).map_or(&[], Vec::as_slice)
    }

    pub fn bodies(&self, target: &str) -> Vec<Value> {
        self.of(target).iter().map(|item| item.body.clone()).collect()
    }

    /// Whether some message has this body.
    pub fn has(&self, body: &Value) -> bool {
        self.targets.values().flatten().any(|item| item.body == *body)
    }

    pub fn ids(&self, target: &str) -> Vec<&str> {
        self.of(target).iter().map(|item| item.id.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn push(to: Value, offset: &str) -> Value {
        json!({"id": offset, "to": to, "offset": offset, "body": offset})
    }

    #[test]
    fn what_comes_again_is_dropped_and_what_comes_late_is_noticed() {
        let (bob, g) = (json!({"user": "bob"}), json!({"group": "g"}));
        let mut heard = Heard::default();
        assert_eq!(heard.note("bob", &push(bob.clone(), "a.0:3")), Verdict::New);
        assert_eq!(heard.note("bob", &push(g, "a.0:1")), Verdict::New, "another target");
        assert_eq!(heard.note("bob", &push(bob.clone(), "a.0:3")), Verdict::Repeated);
        assert_eq!(heard.note("bob", &push(bob.clone(), "a.0:2")), Verdict::Late);
        assert_eq!(
            heard.note("bob", &push(bob.clone(), "b.0:2")),
            Verdict::New,
            "another log"
        );
        let copy = push(json!({"user": "carol"}), "b.0:1");
        assert_eq!(heard.note("bob", &copy), Verdict::Late, "a copy lies in the own inbox");
        let ephemeral = json!({"id": "x", "to": bob});
        assert_eq!(heard.note("bob", &ephemeral), Verdict::Ephemeral);
        assert_eq!((heard.count(), heard.repeated, heard.late), (5, 1, 2));
        assert_eq!(heard.ids("group.g"), ["a.0:1"]);
    }
}
