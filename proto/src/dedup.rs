//! Ids by which the log recognises a retry. Deduplication is stream-wide, so an id must hold the sender and the target
//! beside the key: else one key to three users would be one message.

use crate::{
    Target,
    subject::{escape, target_tokens},
};

/// What a retry is recognised by.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// A client's own key.
    Key { user: &'a str, key: &'a str },
    /// A client's command without a key: one connection's n-th command.
    Command { connection: &'a str, serial: u64 },
    /// A key given through the server API, under the name of the API key.
    Api { name: &'a str, key: &'a str },
}

/// Injective: escaped parts hold no dot, and the number of parts before the target is fixed by the first.
pub fn id(origin: Origin<'_>, target: &Target) -> String {
    let target = target_tokens(target);
    match origin {
        Origin::Key { user, key } => format!("k.{}.{}.{target}", escape(user), escape(key)),
        Origin::Command { connection, serial } => {
            format!("c.{}.{serial}.{target}", escape(connection))
        }
        Origin::Api { name, key } => format!("a.{}.{}.{target}", escape(name), escape(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few, so that often all parts of two ids are the same but one.
    fn part() -> impl Strategy<Value = String> {
        "[a.=]{1,2}"
    }

    fn target() -> impl Strategy<Value = Target> {
        prop_oneof![
            part().prop_map(Target::user),
            part().prop_map(Target::group),
            Just(Target::All),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn one_sender_target_and_key_make_one_id(
            a in (part(), part(), target()),
            b in (part(), part(), target()),
        ) {
            let made = |x: &(String, String, Target)| id(Origin::Key { user: &x.0, key: &x.1 }, &x.2);
            prop_assert_eq!(made(&a) == made(&b), a == b);
        }
    }
}
