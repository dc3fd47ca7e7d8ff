//! Which call a path and a method stand for.

use hyper::Method;
use percent_encoding::percent_decode_str;

/// The calls, by the names that an API key can be limited to.
pub const CALLS: &[&str] = &["messages", "presence", "user", "kick", "log-level"];

/// What a path names. Ids stand in paths percent-encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Messages,
    Presence,
    User(String),
    /// The connections of a user.
    Connections(String),
    LogLevel,
}

impl Resource {
    pub fn of(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix("/api/v1/")?.split('/');
        let resource = match (segments.next()?, segments.next(), segments.next()) {
            ("messages", None, None) => Self::Messages,
            ("presence", None, None) => Self::Presence,
            ("log-level", None, None) => Self::LogLevel,
            ("users", Some(user), None) => Self::User(id(user)?),
            ("users", Some(user), Some("connections")) => Self::Connections(id(user)?),
            _ => return None,
        };
        segments.next().is_none().then_some(resource)
    }

    /// The call, where the method fits.
    pub fn call(&self, method: &Method) -> Option<&'static str> {
        match (self, method) {
            (Self::Messages, &Method::POST) => Some("messages"),
            (Self::Presence, &Method::POST) => Some("presence"),
            (Self::LogLevel, &Method::GET | &Method::PUT) => Some("log-level"),
            (Self::User(_), &Method::GET) => Some("user"),
            (Self::Connections(_), &Method::DELETE) => Some("kick"),
            _ => None,
        }
    }

    /// The methods that fit.
    pub fn allow(&self) -> &'static str {
        match self {
            Self::Messages | Self::Presence => "POST",
            Self::LogLevel => "GET, PUT",
            Self::User(_) => "GET",
            Self::Connections(_) => "DELETE",
        }
    }
}

fn id(segment: &str) -> Option<String> {
    let id = percent_decode_str(segment).decode_utf8().ok()?;
    Some(id.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_percent_encoded() {
        let connections = |user: &str| Some(Resource::Connections(user.to_owned()));
        assert_eq!(Resource::of("/api/v1/users/bob/connections"), connections("bob"));
        assert_eq!(
            Resource::of("/api/v1/users/a%2Fb%20%e5%b0%8f/connections"),
            connections("a/b 小")
        );
        for path in [
            "/api/v1/users/%ff/connections",
            "/api/v1/users/bob/connections/x",
            "/api/v1/users",
            "/api/v1/",
        ] {
            assert_eq!(Resource::of(path), None, "{path}");
        }
    }

    #[test]
    fn every_call_has_its_name() {
        for resource in [
            Resource::Messages,
            Resource::Presence,
            Resource::LogLevel,
            Resource::User(String::new()),
            Resource::Connections(String::new()),
        ] {
            for method in resource.allow().split(", ") {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                assert!(CALLS.contains(&resource.call(&method).unwrap()));
            }
        }
    }
}
