//! nginx with nchan, configured as `loadtest/bars/nchan.conf`. A subscriber follows several channels by one URL; here it
//! follows one: its group's, or else that of all.

use anyhow::Result;

use super::{Heard, Peer, Publish, To, Who, channel};
use crate::wire::upgrade::Upgrade;

pub struct Nchan {
    run: u32,
}

impl Nchan {
    pub fn new(run: u32) -> Self {
        Self { run }
    }
}

impl Peer for Nchan {
    fn upgrade(&self, who: &Who, _cursor: Option<&str>, path: &str) -> Result<Upgrade> {
        let base = if path.is_empty() { "/sub" } else { path };
        let to = who.groups.first().map_or(To::All, |group| To::Group(*group));
        Ok(Upgrade {
            path: format!("{base}/{}", channel(self.run, to)),
            headers: Vec::new(),
        })
    }

    fn ready_at_once(&self) -> bool {
        true
    }

    fn hear(&self, _who: &Who, _frame: &[u8]) -> Heard {
        Heard::Nothing
    }

    fn publish(&self, to: To, body: &str, _id: u32) -> Result<Publish> {
        if matches!(to, To::User(_)) {
            anyhow::bail!("this driver of nchan has groups and broadcasts only");
        }
        Ok(Publish::Post {
            path: format!("/pub/{}", channel(self.run, to)),
            headers: vec![("content-type", "text/plain".into())],
            body: body.to_owned(),
        })
    }
}
