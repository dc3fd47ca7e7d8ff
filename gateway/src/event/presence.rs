//! Who is online: what clients ask, and what they are told.

use herald_proto::{id, limits::USERS_PER_QUERY};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresenceQuery {
    Users(Vec<String>),
    Group(String),
}

impl PresenceQuery {
    /// Exactly one of the two, in every dialect.
    pub fn new(users: Option<Vec<String>>, group: Option<String>) -> Result<Self, String> {
        match (users, group) {
            (Some(users), None) => checked_users(users).map(Self::Users),
            (None, Some(group)) => {
                id::check("group", &group).map_err(|e| e.to_string())?;
                Ok(Self::Group(group))
            }
            _ => Err("\"presence\" must name exactly one of users, group".to_owned()),
        }
    }
}

/// The rules that hold for every list of users, in every dialect; who is named twice is asked for once.
pub fn checked_users(mut users: Vec<String>) -> Result<Vec<String>, String> {
    if !(1..=USERS_PER_QUERY).contains(&users.len()) {
        return Err(format!("users must be 1 to {USERS_PER_QUERY}"));
    }
    for user in &users {
        id::check("user", user).map_err(|e| e.to_string())?;
    }
    let mut seen = std::collections::HashSet::with_capacity(users.len());
    users.retain(|user| seen.insert(user.clone()));
    Ok(users)
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Each user once.
    pub users: Vec<(String, UserPresence)>,
    /// Of a group.
    pub online: Option<u32>,
    /// Of a group.
    pub members: Option<u32>,
}

/// None is what is not known, or not told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPresence {
    pub online: bool,
    /// 0 for one who is online by an HTTP session only.
    pub connections: Option<u32>,
    /// Of one who is online.
    pub since: Option<u64>,
    /// Of one who is not.
    pub last_seen: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn users_are_valid_few_and_each_asked_for_once() {
        assert_eq!(
            checked_users(named(&["bob", "al", "bob", "al", "c"])),
            Ok(named(&["bob", "al", "c"]))
        );
        let many = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(checked_users(many(1000)), Ok(many(1000)));
        let bounds = Err("users must be 1 to 1000".to_owned());
        assert_eq!(checked_users(many(1001)), bounds);
        assert_eq!(checked_users(named(&["bob"; 1001])), bounds, "counted as they came");
        assert_eq!(checked_users(vec![]), bounds);
        assert_eq!(
            checked_users(named(&["bob", ""])),
            Err("user must not be empty".to_owned())
        );
        assert_eq!(
            checked_users(named(&["a\nb"])),
            Err("user holds a control character".to_owned())
        );
    }

    #[test]
    fn a_presence_query_names_exactly_one() {
        let bob = || Some(named(&["bob", "bob"]));
        let group = |name: &str| Some(name.to_owned());
        assert_eq!(
            PresenceQuery::new(bob(), None),
            Ok(PresenceQuery::Users(named(&["bob"])))
        );
        assert_eq!(
            PresenceQuery::new(None, group("g")),
            Ok(PresenceQuery::Group("g".to_owned()))
        );
        assert!(PresenceQuery::new(bob(), group("g")).is_err());
        assert!(PresenceQuery::new(None, None).is_err());
        assert!(PresenceQuery::new(None, group("")).is_err());
    }
}
