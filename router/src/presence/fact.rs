//! What the bucket's keys are called.

use std::borrow::Cow;

use herald_proto::subject;

/// What a key tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact<S = String> {
    /// `u.<user>.<node>.<incarnation>`
    User { user: S, node: S, incarnation: S },
    /// `n.<node>`: a gateway's lease.
    Lease { node: S },
    /// `r.<node>`: a router's.
    Router { node: S },
    /// `h.<user>.<session>`: over HTTP; it needs no lease.
    Session { user: S, sid: S },
    /// `s.<user>`
    Seen { user: S },
}

impl<'a> Fact<Cow<'a, str>> {
    pub fn of(key: &'a str) -> Option<Self> {
        let mut parts = subject::parts(key);
        let kind = parts.next()??;
        let mut next = || parts.next().flatten();
        let fact = match &*kind {
            "u" => Self::User {
                user: next()?,
                node: next()?,
                incarnation: next()?,
            },
            "n" => Self::Lease { node: next()? },
            "r" => Self::Router { node: next()? },
            "h" => Self::Session {
                user: next()?,
                sid: next()?,
            },
            "s" => Self::Seen { user: next()? },
            _ => return None,
        };
        parts.next().is_none().then_some(fact)
    }
}

impl<S: AsRef<str>> Fact<S> {
    pub fn key(&self) -> String {
        let parts: &[&S] = match self {
            Self::User {
                user,
                node,
                incarnation,
            } => &[user, node, incarnation],
            Self::Lease { node } | Self::Router { node } => &[node],
            Self::Session { user, sid } => &[user, sid],
            Self::Seen { user } => &[user],
        };
        let parts = parts.iter().map(|part| part.as_ref());
        subject::key(&std::iter::once(self.kind()).chain(parts).collect::<Vec<_>>())
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "u",
            Self::Lease { .. } => "n",
            Self::Router { .. } => "r",
            Self::Session { .. } => "h",
            Self::Seen { .. } => "s",
        }
    }

    /// Whom it makes online, if anybody by itself.
    pub fn presence_of(&self) -> Option<&str> {
        match self {
            Self::User { user, .. } | Self::Session { user, .. } => Some(user.as_ref()),
            Self::Lease { .. } | Self::Router { .. } | Self::Seen { .. } => None,
        }
    }
}

impl Fact {
    /// By which keys it is decided whether a user is online, as prefixes.
    pub fn prefixes_of(user: &str) -> [String; 2] {
        ["u", "h"].map(|kind| subject::key(&[kind, user]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_is_read_from_its_own_key() {
        let [user, node] = ["b.ob", "n 1"].map(str::to_owned);
        let facts = [
            Fact::User {
                user: user.clone(),
                node: node.clone(),
                incarnation: "i".to_owned(),
            },
            Fact::Lease { node: node.clone() },
            Fact::Router { node },
            Fact::Session {
                user: user.clone(),
                sid: "s".to_owned(),
            },
            Fact::Seen { user },
        ];
        for fact in facts {
            let key = fact.key();
            assert_eq!(Fact::of(&key).map(|read| read.key()), Some(key.clone()));
            assert_eq!(Fact::of(&format!("{key}.more")), None, "{key}");
            assert_eq!(Fact::of(&key[..1]), None, "{key}");
        }
        assert_eq!(Fact::of("x.bob"), None);
        assert_eq!(Fact::of("s.=61"), None, "not as it is written");
    }
}
