//! What a target can do. What it cannot is refused before a run, for it would be counted as lost.

use super::Kind;

/// What a scenario asks of a target, beside connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wants {
    /// Groups that messages go to.
    pub groups: u32,
    /// Messages to single users.
    pub users: bool,
    /// Clients that come back get what they missed.
    pub cursors: bool,
}

/// What the command line asks of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// `--via`, if it is told: over HTTP.
    pub by_api: Option<bool>,
    pub ephemeral: bool,
    pub through_faults: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unable {
    #[error("--target {0} keeps no messages for those who come back: idle, group and broadcast are for it")]
    Cursors(&'static str),
    #[error("--target {0} has no messages to single users: idle, group and broadcast are for it")]
    Users(&'static str),
    #[error("--target {0} knows no groups, a message goes to everybody: say --groups 1")]
    Groups(&'static str),
    #[error("--target {0} is published to over HTTP only: leave --via socket out")]
    Socket(&'static str),
    #[error("--target {0} is sent to over connections only: leave --via api out")]
    Api(&'static str),
    #[error("--target {0} does not store messages: leave --ephemeral out")]
    Ephemeral(&'static str),
    #[error("--target {0} knows no keys under which a message may be sent again: leave --through-faults out")]
    Keys(&'static str),
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Herald => "herald",
            Self::HeraldProto => "herald-proto",
            Self::Floor => "floor",
            Self::Pusher => "pusher",
            Self::Nchan => "nchan",
            Self::Centrifugo => "centrifugo",
            Self::WsId => "ws-id",
        }
    }

    pub fn is_herald(self) -> bool {
        matches!(self, Self::Herald | Self::HeraldProto)
    }

    /// Whether all of it can be had here.
    pub fn check(self, wants: Wants, settings: Settings) -> Result<(), Unable> {
        let name = self.name();
        let unable = [
            (wants.cursors && !self.is_herald(), Unable::Cursors(name)),
            (wants.users && !self.is_herald(), Unable::Users(name)),
            (
                wants.groups > 1 && matches!(self, Self::Floor | Self::WsId),
                Unable::Groups(name),
            ),
            (
                settings.by_api == Some(false) && !self.is_herald() && self != Self::WsId,
                Unable::Socket(name),
            ),
            (settings.by_api == Some(true) && self == Self::WsId, Unable::Api(name)),
            (settings.ephemeral && !self.is_herald(), Unable::Ephemeral(name)),
            (settings.through_faults && self != Self::Herald, Unable::Keys(name)),
        ];
        let first = unable.into_iter().find(|(asked, _)| *asked);
        first.map_or(Ok(()), |(_, unable)| Err(unable))
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    const PEERS: [Kind; 5] = [Kind::Floor, Kind::Pusher, Kind::Nchan, Kind::Centrifugo, Kind::WsId];

    fn wants(groups: u32, users: bool, cursors: bool) -> Wants {
        Wants { groups, users, cursors }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        for kind in Kind::value_variants() {
            let value = kind.to_possible_value().expect("a value");
            assert_eq!(value.get_name(), kind.name());
        }
    }

    #[test]
    fn herald_can_do_it_all() {
        let settings = Settings {
            by_api: Some(true),
            ephemeral: true,
            through_faults: true,
        };
        assert_eq!(Kind::Herald.check(wants(9, true, true), settings), Ok(()));
    }

    #[test]
    fn peers_have_one_group_and_broadcasts_and_refuse_what_they_do_not_have() {
        let settings = Settings::default();
        for peer in PEERS {
            assert_eq!(peer.check(wants(1, false, false), settings), Ok(()));
            assert_eq!(
                peer.check(wants(0, true, false), settings),
                Err(Unable::Users(peer.name()))
            );
            assert_eq!(
                peer.check(wants(1, false, true), settings),
                Err(Unable::Cursors(peer.name()))
            );
        }
        for one in [Kind::Floor, Kind::WsId] {
            assert_eq!(
                one.check(wants(2, false, false), settings),
                Err(Unable::Groups(one.name()))
            );
        }
        assert_eq!(Kind::Pusher.check(wants(2, false, false), settings), Ok(()));
    }

    #[test]
    fn settings_of_herald_alone_are_refused_for_peers() {
        let ephemeral = Settings {
            ephemeral: true,
            ..Settings::default()
        };
        let socket = Settings {
            by_api: Some(false),
            ..Settings::default()
        };
        let none = Wants::default();
        assert_eq!(Kind::Nchan.check(none, ephemeral), Err(Unable::Ephemeral("nchan")));
        assert_eq!(Kind::Floor.check(none, socket), Err(Unable::Socket("floor")));
        assert_eq!(Kind::WsId.check(none, socket), Ok(()));
    }
}
