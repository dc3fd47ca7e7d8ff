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
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to_seq: Option<u64>,
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

    async fn newer_in(&self, chunk: &[Target], after: u64) -> Result<Newer> {
        let names = &self.shared.names;
        let mut subjects: Vec<String> = chunk.iter().map(|target| names.log(target)).collect();
        // An answer without any message tells no `upto`; there is always a beat.
        subjects.push(names.beat());
        let mut found = Newer {
            targets: Vec::new(),
            upto: 0,
        };
        let mut from = after.saturating_add(1);
        let mut tries = 0;
        loop {
            let question = Question {
                multi_last: &subjects,
                seq: from,
                max_bytes: BATCH_BYTES,
                up_to_seq: (found.upto > 0).then_some(found.upto),
            };
            match self.ask_newer(&question, &mut found.targets, &mut from).await? {
                Asked::All { upto } => {
                    found.upto = upto;
                    return Ok(found);
                }
                // The rest is asked as of the same moment.
                Asked::Some { upto } => found.upto = upto,
                // Not one message, not even a beat: nothing is known to be complete but what was known before.
                Asked::Nothing => {
                    found.upto = after;
                    return Ok(found);
                }
                // From the beginning: what came already belongs to another moment than what would follow.
                Asked::BrokenOff if tries < TRIES => {
                    tries += 1;
                    from = after.saturating_add(1);
                    found.targets.clear();
                    found.upto = 0;
                }
                Asked::BrokenOff => {
                    return Err(BusError::Unavailable(
                        "the log is trimmed faster than it is read".to_owned(),
                    ));
                }
            }
        }
    }

    /// One question. `from` moves behind what was answered.
    async fn ask_newer(
        &self,
        question: &Question<'_>,
        found: &mut Vec<(Target, u64)>,
        from: &mut u64,
    ) -> Result<Asked> {
        let link = &self.shared.link;
        let mut answers = link.ask(self.direct_get(), question, READ).await?;
        let began = *from;
        loop {
            match answer(answers.next().await?)? {
                Answer::Message(message) => {
                    let headers = message.headers.unwrap_or_default();
                    let sequence = headers
                        .get(NATS_SEQUENCE)
                        .and_then(|value| value.as_str().parse::<u64>().ok())
                        .ok_or_else(|| BusError::Refused("a stored message has no sequence".to_owned()))?;
                    *from = (*from).max(sequence + 1);
                    let subject = headers.get(NATS_SUBJECT);
                    // The beat is nobody's.
                    if let Some(target) = subject.and_then(|s| self.shared.names.log_target(s.as_str())) {
                        found.push((target, sequence));
                    }
                }
                Answer::End { headers, left } => {
                    let upto = header_number(&headers, "Nats-UpTo-Sequence").unwrap_or_default();
                    return Ok(if left > 0 && *from > began {
                        Asked::Some { upto }
                    } else {
                        Asked::All { upto }
                    });
                }
                Answer::Nothing => return Ok(Asked::Nothing),
                Answer::BrokenOff => return Ok(Asked::BrokenOff),
            }
        }
    }
}

enum Asked {
    All { upto: u64 },
    Some { upto: u64 },
    Nothing,
    BrokenOff,
}
