//! Many keys at once, from the nearest replicas: the last message of each subject under many prefixes.
//!
//! One question may bring 1,024 messages and no more: the server then sends none at all. What is too much is asked in
//! halves, and a single prefix that is too much key by key. Nor may an answer be continued where it stopped: another
//! replica might go on, and a key that it has at another place would be in neither part.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};

use super::NatsKv;
use crate::bus::{Bucket, BusError, Entry, Result, Selection};
use ask::{Ask, Asked, BATCH, Known};

mod ask;

/// Prefixes or keys of one question: as keys they all fit into its answer, with one that is known.
const CHUNK: usize = BATCH - 1;
/// Questions in flight at once.
const ABREAST: usize = 4;
/// A chunk is halved ten times at most, first by prefixes and then by keys; the others are for messages that go while the
/// server gathers them, as they can before 2.15.
const ROUNDS: usize = 32;

#[derive(Default)]
struct Found {
    keys: HashMap<String, Known>,
    /// The lowest of all answers.
    upto: Option<u64>,
}

impl Found {
    fn holds_to(&mut self, upto: u64) {
        self.upto = Some(self.upto.map_or(upto, |lowest| lowest.min(upto)));
    }

    /// Answers may name a key twice, as seen by replicas of different standing.
    fn take(&mut self, key: String, known: Known) {
        let stands = self.keys.get(&key).map_or(0, |stands| stands.revision);
        if known.revision > stands {
            self.keys.insert(key, known);
        }
    }

    fn selection(self) -> Selection {
        let entry = |known: Known| {
            let revision = known.revision;
            known.value.map(|value| Entry { value, revision })
        };
        let keys = self.keys.into_iter();
        Selection {
            entries: keys.filter_map(|(key, known)| Some((key, entry(known)?))).collect(),
            upto: self.upto.unwrap_or_default(),
        }
    }
}

impl NatsKv {
    pub(super) async fn select_near(&self, bucket: Bucket, prefixes: &[String]) -> Result<Selection> {
        let mut questions = chunks(prefixes.iter().cloned().map(Ask::Prefix));
        let mut found = Found::default();
        let mut silent: Vec<Ask> = Vec::new();
        for _ in 0..ROUNDS {
            // An answer without messages does not tell up to where it holds, so each question names a key that is known.
            let anchor = found.keys.keys().next().cloned();
            let asked = questions
                .into_iter()
                .map(|question| self.ask(bucket, question, anchor.as_deref()));
            let asked: Vec<_> = asked.collect();
            let answers: Vec<_> = stream::iter(asked).buffer_unordered(ABREAST).collect().await;
            questions = Vec::new();
            for answer in answers {
                match answer? {
                    (_, Asked::All { keys, upto }) => {
                        found.holds_to(upto);
                        keys.into_iter().for_each(|(key, known)| found.take(key, known));
                    }
                    // Until a key is known.
                    (question, Asked::Nothing) if anchor.is_none() => silent.extend(question),
                    (_, Asked::Nothing) => found.holds_to(0),
                    (question, Asked::BrokenOff) => questions.extend(halves(question)),
                    (question, Asked::TooMany) => questions.extend(self.smaller(bucket, question, &mut found).await?),
                }
            }
            if questions.is_empty() {
                if silent.is_empty() || found.keys.is_empty() {
                    return Ok(found.selection());
                }
                questions = chunks(silent.drain(..));
            }
        }
        Err(BusError::Unavailable(
            "the bucket changes faster than it is read".to_owned(),
        ))
    }

    /// Questions for what is too much for one.
    async fn smaller(&self, bucket: Bucket, question: Vec<Ask>, found: &mut Found) -> Result<Vec<Vec<Ask>>> {
        match question.as_slice() {
            [Ask::Prefix(prefix)] => {
                let (keys, upto) = self.keys_under(bucket, prefix).await?;
                // A key that is made after this list will not be asked for.
                found.holds_to(upto);
                Ok(chunks(keys.into_iter().map(Ask::Key)))
            }
            [] | [Ask::Key(_)] => Err(BusError::TooLarge),
            _ => Ok(halves(question)),
        }
    }
}

fn chunks(asks: impl Iterator<Item = Ask>) -> Vec<Vec<Ask>> {
    let mut chunks: Vec<Vec<Ask>> = Vec::new();
    for ask in asks {
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(ask),
            _ => chunks.push(vec![ask]),
        }
    }
    chunks
}

/// A single one stays as it is.
fn halves(mut question: Vec<Ask>) -> Vec<Vec<Ask>> {
    let second = question.split_off(question.len().div_ceil(2));
    [question, second].into_iter().filter(|half| !half.is_empty()).collect()
}
