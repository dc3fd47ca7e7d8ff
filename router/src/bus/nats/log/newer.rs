//! "Was anything missed?": the last message of each of many subjects, in one question per thousand.

use async_nats::header::{NATS_SEQUENCE, NATS_SUBJECT};
use futures_util::{StreamExt, TryStreamExt, stream};
use herald_proto::Target;
use serde::Serialize;

use super::{
    super::{
        READ,
        direct::{Answer, BATCH_BYTES, answer, header_number},
    },
    NatsLog,
};
use crate::bus::{BusError, Newer, Result};

/// The server answers for at most 1,024 subjects at once, and what it answers must fit into a subscription.
const CHUNK: usize = 999;
/// Questions in flight at once.
const ABREAST: usize = 4;
/// A message may be trimmed while the server gathers its answer; it then breaks off, and is asked again.
const TRIES: usize = 3;

/// Written without a `Value` between: a gateway with many targets asks about all of them every few seconds.
#[derive(Serialize)]
struct Question<'a> {
    multi_last: &'a [String],
    seq: u64,
    max_bytes: usize,
}

impl NatsLog {
    pub(super) async fn newer_in_chunks(&self, targets: &[Target], after: u64) -> Result<Newer> {
        let chunks: Vec<&[Target]> = match targets {
            [] => vec![&[]],
            targets => targets.chunks(CHUNK).collect(),
        };
        let asked: Vec<_> = chunks.into_iter().map(|chunk| self.newer_in(chunk, after)).collect();
        let found: Vec<Newer> = stream::iter(asked).buffer_unordered(ABREAST).try_collect().await?;
        let upto = found.iter().map(|newer| newer.upto).min();
        Ok(Newer {
            targets: found.into_iter().flat_map(|newer| newer.targets).collect(),
            upto: upto.unwrap_or(after),
        })
    }

    /// What does not fit into one answer is asked in halves, each of its own moment. An answer cannot be continued: another
    /// replica may go on, and one that lags leaves out what it does not have without a word.
    async fn newer_in(&self, chunk: &[Target], after: u64) -> Result<Newer> {
        let mut parts = vec![chunk];
        let mut found = Newer {
            targets: Vec::new(),
            upto: u64::MAX,
        };
        while let Some(part) = parts.pop() {
            match self.newer_at_once(part, after).await? {
                Some(mut newer) => {
                    found.targets.append(&mut newer.targets);
                    found.upto = found.upto.min(newer.upto);
                }
                None if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([first, second]);
                }
                None => return Err(BusError::TooLarge),
            }
        }
        Ok(found)
    }

    /// None where the answer is too large.
    async fn newer_at_once(&self, part: &[Target], after: u64) -> Result<Option<Newer>> {
        let names = &self.shared.names;
        let mut subjects: Vec<String> = part.iter().map(|target| names.log(target)).collect();
        // An answer without any message tells no `upto`; there is always a beat.
        subjects.push(names.beat());
        let question = Question {
            multi_last: &subjects,
            seq: after.saturating_add(1),
            max_bytes: BATCH_BYTES,
        };
        for _ in 0..=TRIES {
            match self.ask_newer(&question).await? {
                Asked::All(newer) => return Ok(Some(newer)),
                Asked::TooMuch => return Ok(None),
                // Not one message, not even a beat: nothing is known to be complete but what was known before.
                Asked::Nothing => {
                    return Ok(Some(Newer {
                        targets: Vec::new(),
                        upto: after,
                    }));
                }
                // From the beginning: what came already belongs to another moment than what would follow.
                Asked::BrokenOff => {}
            }
        }
        let why = "the log is trimmed faster than it is read";
        Err(BusError::Unavailable(why.to_owned()))
    }

    async fn ask_newer(&self, question: &Question<'_>) -> Result<Asked> {
        let link = &self.shared.link;
        let mut answers = link.ask(self.direct_get(), question, READ).await?;
        let mut targets = Vec::new();
        loop {
            match answer(answers.next().await?)? {
                Answer::Message(message) => {
                    let headers = message.headers.unwrap_or_default();
                    let sequence = headers
                        .get(NATS_SEQUENCE)
                        .and_then(|value| value.as_str().parse::<u64>().ok())
                        .ok_or_else(|| BusError::Refused("a stored message has no sequence".to_owned()))?;
                    let subject = headers.get(NATS_SUBJECT);
                    // The beat is nobody's.
                    if let Some(target) = subject.and_then(|s| self.shared.names.log_target(s.as_str())) {
                        targets.push((target, sequence));
                    }
                }
                Answer::End { left: 1.., .. } => return Ok(Asked::TooMuch),
                Answer::End { headers, .. } => {
                    let upto = header_number(&headers, "Nats-UpTo-Sequence").unwrap_or_default();
                    return Ok(Asked::All(Newer { targets, upto }));
                }
                Answer::Nothing => return Ok(Asked::Nothing),
                Answer::BrokenOff => return Ok(Asked::BrokenOff),
            }
        }
    }
}

enum Asked {
    All(Newer),
    TooMuch,
    Nothing,
    BrokenOff,
}
