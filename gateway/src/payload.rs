//! Whether the bus takes the largest messages that clients may send. NATS says so with every connect; senders of what is
//! too large are told `too_large`, and whoever runs the node is told here.

use herald_router::bus::{Bus, BusState};
use tracing::warn;

use crate::paths::Paths;

/// What a message grows by on its way: names of sender, target and key, each with up to 128 bytes and up to three times as
/// long where it is escaped, twice over in the router's request and in the log.
const ADDED: usize = 4 << 10;

/// Watches until dropped.
pub async fn run(bus: &Bus, paths: &Paths) {
    let mut state = bus.pubsub.state();
    let mut told = None;
    // An error means that the bus has ended.
    while state.wait_for(|state| *state == BusState::Ready).await.is_ok() {
        let most = bus.pubsub.max_payload();
        if told.replace(most) != Some(most) {
            for (setting, frame) in beyond(paths, most) {
                warn!(
                    frame,
                    max_payload = most,
                    "{setting} may be more than the message bus takes: raise max_payload of NATS, or lower it"
                );
            }
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// The settings of frames that may not pass.
fn beyond(paths: &Paths, most: usize) -> Vec<(String, usize)> {
    let large = paths.frames().filter(|(_, frame)| frame + ADDED > most);
    large
        .map(|(dialect, frame)| match dialect {
            "" => ("limits.frame".to_owned(), frame),
            name => (format!("dialects.{name}.frame"), frame),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{DialectsSettings, LimitSettings},
        limits::Limits,
    };

    #[test]
    fn what_the_bus_does_not_take_is_named() {
        let settings: DialectsSettings =
            toml::from_str("[im]\npaths = ['/im']\n[ws-id]\npaths = ['/ws/{id}']\n").unwrap();
        let paths = Paths::new(&settings, Limits::new(LimitSettings::default()));
        let names = |most| {
            beyond(&paths, most)
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(1 << 20), ["dialects.im.frame"], "NATS' own default");
        assert!(names(2 << 20).is_empty());
        assert_eq!(names(64 << 10), ["limits.frame", "dialects.im.frame"]);
    }
}
