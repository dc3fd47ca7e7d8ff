//! Which events this node tells.

use std::collections::BTreeSet;

use herald_router::events::Kind;

use super::GatewayConfig;

impl GatewayConfig {
    /// Without NATS nobody but the webhooks can hear of events: what none of them wants is not made and kept for nothing.
    pub fn told(&self) -> BTreeSet<Kind> {
        let kinds = self.events.kinds.iter().copied();
        if !self.nats.urls.is_empty() {
            return kinds.collect();
        }
        let wanted = |kind: &Kind| {
            let mut hooks = self.webhooks.iter();
            hooks.any(|hook| hook.events.as_ref().is_none_or(|wanted| wanted.contains(kind)))
        };
        kinds.filter(wanted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> BTreeSet<Kind> {
        GatewayConfig::parse(text, std::iter::empty()).0.told()
    }

    const HOOK: &str = "name = \"shop\"\nurl = \"http://127.0.0.1:9\"\nsecrets = [\"0123456789abcdef\"]\n";

    #[test]
    fn a_node_alone_tells_what_a_webhook_wants() {
        assert_eq!(told(""), BTreeSet::new());
        let some = format!("[[webhooks]]\n{HOOK}events = [\"online\", \"login\"]\n");
        assert_eq!(told(&some), BTreeSet::from([Kind::Online, Kind::Login]));
        let all = format!("{some}[[webhooks]]\n{HOOK}");
        assert_eq!(told(&all), GatewayConfig::default().events.kinds);
    }

    #[test]
    fn a_node_of_a_cluster_tells_all_that_it_is_to_tell() {
        assert_eq!(
            told("nats.urls = [\"nats://127.0.0.1:4222\"]\nevents.kinds = [\"login\"]\n"),
            BTreeSet::from([Kind::Login])
        );
    }
}
