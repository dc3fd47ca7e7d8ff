//! Deleting what is stored for one target.

use herald_proto::Target;
use serde::Deserialize;
use serde_json::json;

use super::{super::READ, NatsLog};
use crate::bus::Result;

impl NatsLog {
    pub(super) async fn purge_target(&self, target: &Target, upto: u64) -> Result<u64> {
        #[derive(Deserialize)]
        struct Gone {
            purged: u64,
        }
        let subject = format!("STREAM.PURGE.{}", self.shared.names.log_stream());
        // What stands at `seq` stays.
        let question = json!({ "filter": self.shared.names.log(target), "seq": upto.saturating_add(1) });
        let gone: Gone = self.shared.link.api(&subject, &question, READ).await?;
        Ok(gone.purged)
    }
}
