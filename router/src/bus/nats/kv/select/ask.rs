//! Single questions: for the last message of each subject under some prefixes, and for the keys of one prefix.

use std::collections::HashMap;

use async_nats::{
    Message,
    header::{NATS_SEQUENCE, NATS_SUBJECT},
};
use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use super::super::{
    super::{
        READ,
        direct::{Answer, BATCH_BYTES, answer, header_number},
        streams,
    },
    NatsKv, filters, is_marker,
};
use crate::bus::{Bucket, BusError, Result};

/// Messages of one answer: they come without flow control, so fewer than a subscription holds.
pub(super) const BATCH: usize = 1_000;

/// Part of a question.
pub(super) enum Ask {
    Prefix(String),
    Key(String),
}

/// What one question came to.
pub(super) enum Asked {
    All {
        keys: Vec<(String, Known)>,
        upto: u64,
    },
    Nothing,
    TooMany,
    /// A message went while the server gathered its answer.
    BrokenOff,
}

/// A key's last message.
pub(super) struct Known {
    pub(super) revision: u64,
    /// None: deleted.
    pub(super) value: Option<Bytes>,
}

impl NatsKv {
    /// One question, and `anchor` with it.
    pub(super) async fn ask(
        &self,
        bucket: Bucket,
        question: Vec<Ask>,
        anchor: Option<&str>,
    ) -> Result<(Vec<Ask>, Asked)> {
        let base = streams::bucket_subject(&self.shared.names, bucket);
        let subjects = question.iter().flat_map(|ask| match ask {
            Ask::Prefix(prefix) => filters(&base, prefix),
            Ask::Key(key) => vec![format!("{base}{key}")],
        });
        let anchor = anchor.map(|key| format!("{base}{key}"));
        let subjects: Vec<String> = subjects.chain(anchor).collect();
        let body = json!({ "multi_last": subjects, "batch": BATCH, "max_bytes": BATCH_BYTES });
        let subject = format!("$JS.API.DIRECT.GET.{}", self.stream(bucket));
        let mut answers = match self.shared.link.ask(subject, &body, READ).await {
            // The question itself is.
            Err(BusError::TooLarge) => return Ok((question, Asked::TooMany)),
            asked => asked?,
        };
        let (mut keys, mut left) = (Vec::new(), 0);
        loop {
            let message = answers.next().await?;
            if message.status.is_some_and(|status| status.as_u16() == 413) {
                return Ok((question, Asked::TooMany));
            }
            let asked = match answer(message)? {
                Answer::Message(message) => {
                    // What the end tells is one too low before 2.15.
                    left = message
                        .headers
                        .as_ref()
                        .and_then(|h| header_number(h, "Nats-Num-Pending"))
                        .unwrap_or_default();
                    keys.push(known(&base, message)?);
                    continue;
                }
                Answer::End { headers, .. } if left == 0 => Asked::All {
                    keys,
                    upto: header_number(&headers, "Nats-UpTo-Sequence").unwrap_or_default(),
                },
                Answer::End { .. } => Asked::TooMany,
                Answer::Nothing => Asked::Nothing,
                Answer::BrokenOff => Asked::BrokenOff,
            };
            return Ok((question, asked));
        }
    }

    /// All keys, from the leader, and up to which revision that holds.
    pub(super) async fn keys_under(&self, bucket: Bucket, prefix: &str) -> Result<(Vec<String>, u64)> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(default)]
            total: usize,
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            /// Read before the subjects are.
            last_seq: u64,
            #[serde(default)]
            subjects: HashMap<String, IgnoredAny>,
        }
        let base = streams::bucket_subject(&self.shared.names, bucket);
        // The last is what lies beneath; before it the key that is the prefix itself.
        let filter = filters(&base, prefix).pop();
        let subject = format!("STREAM.INFO.{}", self.stream(bucket));
        let body = json!({ "subjects_filter": filter });
        let listed: Listed = self.shared.link.api(&subject, &body, READ).await?;
        if listed.total > listed.state.subjects.len() {
            // The list goes on in pages, between which keys would come and go.
            return Err(BusError::TooLarge);
        }
        let beneath = listed
            .state
            .subjects
            .keys()
            .filter_map(|subject| subject.strip_prefix(&base));
        let itself = (!prefix.is_empty()).then_some(prefix);
        let keys = beneath.chain(itself).map(str::to_owned).collect();
        Ok((keys, listed.state.last_seq))
    }
}

fn known(base: &str, message: Message) -> Result<(String, Known)> {
    let headers = message.headers.unwrap_or_default();
    let key = headers
        .get(NATS_SUBJECT)
        .and_then(|subject| subject.as_str().strip_prefix(base));
    let revision = headers.get(NATS_SEQUENCE).and_then(|value| value.as_str().parse().ok());
    let (Some(key), Some(revision)) = (key, revision) else {
        return Err(BusError::Refused("a stored value has no key or no sequence".to_owned()));
    };
    let value = (!is_marker(&headers)).then_some(message.payload);
    Ok((key.to_owned(), Known { revision, value }))
}
