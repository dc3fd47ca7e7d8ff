//! Which call a path and a method stand for. Ids stand in paths percent-encoded.

use herald_proto::id;
use herald_router::failure::Failure;
use hyper::Method;

use super::call::Entry;
use crate::percent;

/// The ids that a path holds; empty where it holds none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    pub user: Option<String>,
    pub group: Option<String>,
    /// One that is malformed.
    broken: bool,
}

impl Ids {
    pub fn check(&self) -> Result<(), Failure> {
        if self.broken {
            return Err(Failure::bad_request("an id in the path is no percent-encoded UTF-8"));
        }
        for (what, id) in [("user", &self.user), ("group", &self.group)] {
            if let Some(id) = id {
                id::check(what, id)?;
            }
        }
        Ok(())
    }

    /// Only of a call whose path holds one.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    /// Only of a call whose path holds one.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }
}

pub(super) enum Found<'a> {
    Call(&'a Entry, Ids),
    /// The path is one, the method is none of these.
    Only(Vec<&'a Method>),
    Nothing,
}

pub(super) fn find<'a>(calls: &'a [Entry], method: &Method, path: &str) -> Found<'a> {
    let mut others = Vec::new();
    for call in calls {
        let Some(ids) = matched(call.path, path) else { continue };
        if call.method == *method {
            return Found::Call(call, ids);
        }
        others.push(&call.method);
    }
    match others.is_empty() {
        true => Found::Nothing,
        false => Found::Only(others),
    }
}

fn matched(template: &str, path: &str) -> Option<Ids> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut ids = Ids::default();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(ids),
            (Some("{uid}"), Some(user)) => ids.user = Some(decoded(user, &mut ids.broken)),
            (Some("{gid}"), Some(group)) => ids.group = Some(decoded(group, &mut ids.broken)),
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

fn decoded(segment: &str, broken: &mut bool) -> String {
    let id = percent::segment(segment);
    *broken |= id.is_err();
    id.unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::CALLS, *};

    fn call(method: Method, path: &str) -> Option<(&'static str, Ids)> {
        match find(&CALLS, &method, path) {
            Found::Call(call, ids) => Some((call.id, ids)),
            Found::Only(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn ids_are_percent_encoded() {
        let kick = |user: &str| {
            let path = format!("/api/v1/users/{user}/connections");
            call(Method::DELETE, &path)
        };
        for (encoded, user) in [("bob", "bob"), ("a%2Fb%20%e5%b0%8f", "a/b 小"), ("", "")] {
            let (id, ids) = kick(encoded).unwrap();
            assert_eq!((id, ids.user()), ("kick", user));
            assert_eq!(ids.check().is_ok(), !user.is_empty());
        }
        for malformed in ["%ff", "%", "50%", "%4"] {
            assert!(kick(malformed).unwrap().1.check().is_err(), "{malformed}");
        }
        assert_eq!(call(Method::DELETE, "/api/v1/users/bob/connections/x"), None);
        let (id, ids) = call(Method::PUT, "/api/v1/groups/g%2F1/members/bob").unwrap();
        assert_eq!((id, ids.group(), ids.user()), ("add_member", "g/1", "bob"));
    }

    #[test]
    fn another_method_is_told_which_there_are() {
        let Found::Only(methods) = find(&CALLS, &Method::PATCH, "/api/v1/history") else {
            panic!("no method but these");
        };
        assert_eq!(methods, [&Method::GET, &Method::DELETE]);
        assert!(matches!(find(&CALLS, &Method::GET, "/api/v1/"), Found::Nothing));
    }

    #[test]
    fn no_call_hides_another() {
        let mut seen = std::collections::HashSet::new();
        for call in CALLS.iter() {
            assert!(seen.insert((call.method.clone(), call.path)), "{}", call.id);
            assert_eq!(CALLS.iter().filter(|other| other.id == call.id).count(), 1);
        }
    }
}
