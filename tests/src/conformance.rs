//! What the Autobahn fuzzing client does to an echo server, by hand: a case is bytes that go out, and what must come back.
//!
//! Each case is run several times: its bytes in one write, and in writes of other sizes down to one byte.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use crate::raw::{BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, Raw, TEXT, masked};

pub struct Case {
    /// As Autobahn numbers it.
    name: String,
    send: Vec<u8>,
    /// The frames that must come before the end.
    hears: Vec<(u8, Vec<u8>)>,
    /// The code of the close frame; 1005 for one without.
    end: u16,
}

pub fn case(
    name: impl Into<String>,
    send: impl AsRef<[Vec<u8>]>,
    hears: impl Into<Vec<(u8, Vec<u8>)>>,
    end: u16,
) -> Case {
    Case {
        name: name.into(),
        send: send.as_ref().concat(),
        hears: hears.into(),
        end,
    }
}

/// The client's goodbye, where a case must leave the connection as it is; it comes back.
pub const FINE: u16 = 1000;
pub const PROTOCOL: u16 = 1002;
pub const NO_TEXT: u16 = 1007;
pub const TOO_BIG: u16 = 1009;
pub const NO_CODE: u16 = 1005;

pub fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(FIN | TEXT, payload.as_ref())
}

pub fn binary(payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(FIN | BINARY, payload.as_ref())
}

pub fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(FIN | PING, payload.as_ref())
}

pub fn pong(payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(FIN | PONG, payload.as_ref())
}

/// The first frame of a text of several.
pub fn begin(payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(TEXT, payload.as_ref())
}

pub fn more(payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(CONTINUATION, payload.as_ref())
}

pub fn last(payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(FIN | CONTINUATION, payload.as_ref())
}

pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    masked(FIN | CLOSE, &[&code.to_be_bytes()[..], reason.as_ref()].concat())
}

/// A message in fragments of this size.
pub fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count = payload.len().div_ceil(size).max(1);
    for (i, part) in payload.chunks(size).enumerate() {
        let fin = if i + 1 == count { FIN } else { 0 };
        bytes.extend(masked(fin | if i == 0 { opcode } else { CONTINUATION }, part));
    }
    bytes
}

pub fn hears_text(payload: impl AsRef<[u8]>) -> (u8, Vec<u8>) {
    (FIN | TEXT, payload.as_ref().to_vec())
}

pub fn hears_binary(payload: impl AsRef<[u8]>) -> (u8, Vec<u8>) {
    (FIN | BINARY, payload.as_ref().to_vec())
}

pub fn hears_pong(payload: impl AsRef<[u8]>) -> (u8, Vec<u8>) {
    (FIN | PONG, payload.as_ref().to_vec())
}

/// In one write, in parts that end anywhere, and byte by byte as far as that takes no minute.
const CHOPS: [usize; 4] = [usize::MAX, 997, 7, 1];
const MOST_WRITES: usize = 1_500;

/// Runs all cases over connections to `path`, and fails with the list of those that came out otherwise.
pub async fn hold(address: SocketAddr, path: &'static str, cases: Vec<Case>) {
    let mut runs = JoinSet::new();
    let mut faults = String::new();
    for case in cases {
        let case = std::sync::Arc::new(case);
        for chop in CHOPS {
            if chop != usize::MAX && (case.send.len() <= chop || case.send.len() / chop > MOST_WRITES) {
                continue;
            }
            let case = case.clone();
            runs.spawn(async move { run(address, path, &case, chop).await });
        }
        // As many at once as a listener takes in without a queue.
        while runs.len() > 64 {
            note(&mut faults, runs.join_next().await);
        }
    }
    while let Some(done) = runs.join_next().await {
        note(&mut faults, Some(done));
    }
    assert!(faults.is_empty(), "{faults}");
}

fn note(faults: &mut String, done: Option<Result<Result<(), String>, tokio::task::JoinError>>) {
    match done {
        Some(Ok(Err(fault))) => writeln!(faults, "{fault}").expect("room for it"),
        Some(Err(error)) => writeln!(faults, "{error}").expect("room for it"),
        Some(Ok(Ok(()))) | None => {}
    }
}

async fn run(address: SocketAddr, path: &str, case: &Case, chop: usize) -> Result<(), String> {
    let mut raw = Raw::open(address, path, &[]).await;
    if !raw.upgraded() {
        return Err(format!("{}: no upgrade: {}", case.name, raw.head));
    }
    raw.stream.set_nodelay(true).expect("a socket's option");
    let mut bytes = case.send.clone();
    if case.end == FINE {
        bytes.extend(close(FINE, "done"));
    }
    let mut got = Vec::new();
    for part in bytes.chunks(chop) {
        // Once it has seen enough, what comes late meets a reset, which can swallow the close frame: so reading goes on.
        if got.last().is_some_and(is_close) || raw.try_bytes(part).await.is_err() {
            break;
        }
        if chop < 100 {
            tokio::task::yield_now().await;
        }
        got.extend(raw.here());
    }
    while let Some(frame) = raw.read().await {
        got.push(frame);
    }
    // The server's own pings may come at any time.
    got.retain(|frame| frame.first != FIN | PING);
    let fault = |what: String| Err(format!("{} in writes of {chop}: {what}", case.name));
    let mut got = got.into_iter();
    for (i, (first, payload)) in case.hears.iter().enumerate() {
        match got.next() {
            Some(frame) if frame.first == *first && frame.payload == *payload => {}
            other => {
                let wanted = format!("{first:x} of {} bytes", payload.len());
                return fault(format!("frame {i} is {}, not {wanted}", show(other)));
            }
        }
    }
    match got.next() {
        Some(frame) if is_close(&frame) => {
            let code = frame
                .payload
                .get(..2)
                .map_or(NO_CODE, |code| u16::from_be_bytes([code[0], code[1]]));
            if code != case.end {
                return fault(format!("it ends with {code}, not {}", case.end));
            }
        }
        other => return fault(format!("{} in place of the close frame", show(other))),
    }
    match got.next() {
        None => Ok(()),
        other => fault(format!("{} after the close frame", show(other))),
    }
}

fn is_close(frame: &Frame) -> bool {
    frame.first == FIN | CLOSE
}

fn show(frame: Option<Frame>) -> String {
    frame.map_or_else(
        || "the end".to_owned(),
        |frame| format!("{:x} of {} bytes", frame.first, frame.payload.len()),
    )
}

/// Sends parts, waiting between them for longer than any server needs to look at what it has; the end must come before the
/// last one is sent.
pub async fn ends_early(address: SocketAddr, path: &str, parts: &[&[u8]], code: u16) {
    let mut raw = Raw::open(address, path, &[]).await;
    for part in parts {
        raw.bytes(part).await;
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(raw.closed().await, code, "{parts:?}");
}
