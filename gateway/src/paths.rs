//! Which paths of the public listener speak which of the articles' dialects, and what holds there.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use crate::{
    config::DialectsSettings,
    dialect::Dialect,
    keeper::Keeper,
    limits::Limits,
    percent::{self, Malformed},
};

/// The place of a user's id in a path.
const ID: &str = "{id}";

/// A client that reads must not pass for a slow one because some large frames come at once.
const FRAMES_WAITING: usize = 4;

/// A path, in which one segment may be a user's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// How many ids it has.
    pub fn ids(&self) -> usize {
        self.0.split('/').filter(|segment| *segment == ID).count()
    }

    /// Whether there is a path that both match.
    pub fn overlaps(&self, other: &Self) -> bool {
        let pairs = self.0.split('/').zip(other.0.split('/'));
        let alike = |(one, other): (&str, &str)| one == other || matches(one, other) || matches(other, one);
        self.0.split('/').count() == other.0.split('/').count() && { pairs }.all(alike)
    }

    /// The id in `path`, "" where the pattern has none; None where it does not match.
    fn id<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut segments = path.split('/');
        let mut id = "";
        for wanted in self.0.split('/') {
            let segment = segments.next()?;
            if matches(wanted, segment) {
                id = segment;
            } else if wanted != segment {
                return None;
            }
        }
        segments.next().is_none().then_some(id)
    }
}

/// An id is not empty.
fn matches(wanted: &str, segment: &str) -> bool {
    wanted == ID && !segment.is_empty()
}

/// What holds for the connections of a dialect.
pub struct Terms {
    /// Largest message from a client; None: as in the limits.
    frame: Option<usize>,
    pub keeper: Arc<Keeper>,
    /// A client is believed who it says it is.
    pub trust_url_id: bool,
}

pub struct Paths {
    limits: Arc<Limits>,
    patterns: Vec<(Pattern, Option<SocketAddr>, Dialect)>,
    native: Terms,
    /// By the dialect's place.
    terms: [Option<Terms>; Dialect::COUNT],
}

/// A path that speaks a dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub dialect: Dialect,
    /// Of the user, where the path has it.
    pub id: Option<Result<String, Malformed>>,
}

impl Paths {
    pub fn new(settings: &DialectsSettings, limits: Arc<Limits>) -> Self {
        let now = limits.now();
        let mut paths = Self {
            limits,
            patterns: Vec::new(),
            native: Terms {
                frame: None,
                keeper: Keeper::new(now.ping_interval, now.pong_timeout),
                trust_url_id: false,
            },
            terms: [const { None }; Dialect::COUNT],
        };
        for spoken in settings.spoken() {
            let patterns = spoken.paths.iter().map(|path| Pattern::new(path));
            let patterns = patterns.map(|pattern| (pattern, spoken.listen, spoken.dialect));
            paths.patterns.extend(patterns);
            paths.terms[spoken.dialect.index()] = Some(Terms {
                frame: Some(size(spoken.frame)),
                keeper: Keeper::patient(spoken.ping_interval, spoken.pong_timeout),
                trust_url_id: spoken.trust_url_id,
            });
        }
        paths
    }

    /// `listener` is where the request came in, as the configuration has it.
    pub fn find(&self, listener: SocketAddr, path: &str) -> Option<Found> {
        let here = |listen: &Option<SocketAddr>| listen.is_none_or(|listen| listen == listener);
        let mut found = self.patterns.iter().filter(|(_, listen, _)| here(listen));
        found.find_map(|(pattern, _, dialect)| {
            let id = pattern.id(path)?;
            Some(Found {
                dialect: *dialect,
                id: (!id.is_empty()).then(|| percent::segment(id).map(Cow::into_owned)),
            })
        })
    }

    pub fn terms(&self, dialect: Dialect) -> &Terms {
        self.terms[dialect.index()].as_ref().unwrap_or(&self.native)
    }

    /// The largest message that a new connection may send.
    pub fn frame(&self, dialect: Dialect) -> usize {
        let own = self.terms(dialect).frame;
        own.unwrap_or_else(|| size(self.limits.now().frame))
    }

    /// What may wait for a new connection.
    pub fn outbox(&self, dialect: Dialect) -> usize {
        let of_all = size(self.limits.now().outbox);
        let own = self.terms(dialect).frame;
        own.map_or(of_all, |frame| of_all.max(FRAMES_WAITING * frame))
    }

    /// The largest message from a client, by dialect; "" stands for all native ones.
    pub fn frames(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let spoken = Dialect::NAMES.into_iter().zip(&self.terms);
        let spoken = spoken.filter_map(|(name, terms)| Some((name, terms.as_ref()?.frame?)));
        std::iter::once(("", size(self.limits.now().frame))).chain(spoken)
    }

    pub fn keepers(&self) -> impl Iterator<Item = &Arc<Keeper>> {
        let all = std::iter::once(&self.native).chain(self.terms.iter().flatten());
        all.map(|terms| &terms.keeper)
    }
}

fn size(size: bytesize::ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitSettings;

    #[test]
    fn paths_lead_to_their_dialects() {
        let settings: DialectsSettings = toml::from_str(
            "[ws-id]\npaths = ['/ws/{id}', '/v2/{id}/hub']\n[opcode]\npaths = ['/serv/']\nlisten = '127.0.0.1:8080'\n",
        )
        .unwrap();
        let paths = Paths::new(&settings, Limits::new(LimitSettings::default()));
        let articles: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let other: SocketAddr = "127.0.0.1:8002".parse().unwrap();
        let find = |path| {
            let found = paths.find(articles, path)?;
            Some(found.id.map_or_else(String::new, Result::unwrap))
        };
        assert_eq!(find("/ws/7").as_deref(), Some("7"));
        assert_eq!(find("/v2/a%20b/hub").as_deref(), Some("a b"));
        assert_eq!(find("/serv/").as_deref(), Some(""));
        for none in ["/ws", "/ws/", "/ws/7/", "/v2/7", "/serv", "/serv/x", ""] {
            assert_eq!(find(none), None, "{none}");
        }
        for malformed in ["/ws/%ff", "/ws/7%"] {
            assert!(
                paths.find(other, malformed).unwrap().id.unwrap().is_err(),
                "{malformed}"
            );
        }
        assert!(paths.find(other, "/serv/").is_none());
        assert!(paths.find(other, "/ws/7").is_some());
    }
}
