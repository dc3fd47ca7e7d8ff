//! Whatever comes from one client of an article's dialect: the node stands, nobody else's connection is closed, and no
//! frame beyond the limit is taken into memory.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use herald_tests::{
    article::{Frame, Peer},
    gateway::Config,
    process::Node,
    raw::{FIN, Raw, header},
    usage::Usage,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

const FRAMES: usize = 3_000;
/// What a node may take for all of it: some of the largest frames, and what the allocator keeps.
const MEMORY: u64 = 64 << 20;

/// A dialect as it is attacked.
struct Target {
    path: &'static str,
    limit: u64,
    /// The first frame, where one must come.
    login: Option<&'static str>,
    /// Well-formed frames, which are taken apart.
    samples: &'static [&'static [u8]],
    /// A question, and what its answer begins with.
    sign: (&'static [u8], &'static [u8]),
}

const TARGETS: [Target; 5] = [
    Target {
        path: "/socket.io?user=",
        limit: 256 << 10,
        login: None,
        samples: &[
            b"\x3a\x08heatbeat",
            b"\x1a\x03eve\x22\x0212\x2a\x05hello\x30\x01\x40\x01",
            b"\x22\x02g1\x2a\x05hello\x30\x01\x40\x02",
            b"\x22\x0212\x30\x07\x3a\x06webrtc",
            b"\x22\x0212\x2a\x01f\x30\x02\x5a\x04\x00\xff\x00\xff",
        ],
        sign: (b"\x3a\x08heatbeat", b"\x2a\x04pong"),
    },
    Target {
        path: "/serv/?user=",
        limit: 64 << 10,
        login: None,
        samples: &[b"\x00\x00\x00\x6eabc", b"\x00\x00\x00\x6f", b"\xff\xff\xff\xffabc"],
        sign: (b"\x00\x00\x00\x07there?", b"\xff\xff\xff\xff{\"opcode\":7,"),
    },
    Target {
        path: "/echo?user=",
        limit: 64 << 10,
        login: None,
        samples: &[b"hello", b"\x00\xff"],
        sign: (b"there?", b"there?"),
    },
    Target {
        path: "/hub?x=",
        limit: 64 << 10,
        login: Some(r#"{"UserID":"?"}"#),
        samples: &[
            br#"{"ToUserID":"12","a":[1,{"b":null}]}"#,
            br#"{"a":"\u00e9\ud83d\ude00"}"#,
            br#"{"token":"a.b.c"}"#,
        ],
        sign: (br#"{"ToUserID":"#, br#"{"error":{"code":"bad_request""#),
    },
    Target {
        path: "/ws/",
        limit: 512,
        login: None,
        samples: &[
            br#"{"type":1,"sender":11,"receiver":12,"content":"hello"}"#,
            br#"{"TYPE":3,"content":"\u00e9"}"#,
            br#"{"type":0}"#,
            br#"{"type":4}"#,
        ],
        sign: (br#"{"type":0}"#, br#"{"type":2,"#),
    },
];

impl Target {
    async fn open(&self, address: SocketAddr, user: &str) -> Peer {
        let mut peer = Peer::open(address, &format!("{}{user}", self.path)).await;
        if let Some(login) = self.login {
            peer.text(&login.replace("?", user)).await;
        }
        peer
    }

    /// Whether the connection answers, past all that was sent to it.
    async fn answers(&self, peer: &mut Peer) -> bool {
        peer.binary(self.sign.0).await;
        loop {
            match peer.next().await {
                Frame::Text(text) if text.as_bytes().starts_with(self.sign.1) => return true,
                Frame::Binary(bytes) if bytes.starts_with(self.sign.1) => return true,
                Frame::Text(_) | Frame::Binary(_) => {}
                Frame::Closed(_) | Frame::Lost => return false,
            }
        }
    }

    fn frame(&self, dice: &mut StdRng) -> Vec<u8> {
        let sample = |dice: &mut StdRng| self.samples[dice.random_range(0..self.samples.len())].to_vec();
        let mut frame = match dice.random_range(0..6) {
            0 => (0..dice.random_range(0..200)).map(|_| dice.random()).collect(),
            1 => [sample(dice), sample(dice)].concat(),
            _ => sample(dice),
        };
        for _ in 0..dice.random_range(0..4) {
            let at = dice.random_range(0..=frame.len());
            match dice.random_range(0..4) {
                0 => frame.truncate(at),
                1 => frame.insert(at, dice.random()),
                2 if at < frame.len() => frame[at] ^= 1 << dice.random_range(0..8),
                3 if at < frame.len() => drop(frame.remove(at)),
                _ => {}
            }
        }
        if dice.random_range(0..200) == 0 {
            let most = usize::try_from(self.limit).unwrap();
            frame.resize(most + dice.random_range(0..2), b' ');
        }
        frame
    }
}

async fn node() -> Node {
    let dialects = [
        ("im", "/socket.io"),
        ("opcode", "/serv/"),
        ("echo", "/echo"),
        ("hub", "/hub"),
        ("ws-id", "/ws/{id}"),
    ];
    // Nobody is ended for being silent: those who only listen answer pings when they read.
    let rest = dialects.map(|(name, path)| {
        format!(
            "[dialects.{name}]\npaths = ['{path}']\ntrust_url_id = true\nping_interval = '10m'\npong_timeout = '9m'\n"
        )
    });
    let gateway = Config {
        rest: rest
            .concat()
            .replace("[dialects.im]\n", "[dialects.im]\nframe = '256KiB'\n"),
        limits: "commands_per_second = 100000\ncommands_burst = 200000\n".to_owned(),
        ..Config::default()
    };
    gateway.start().await
}

#[tokio::test]
async fn no_frames_of_one_client_harm_another() {
    let gateway = node().await;
    let address = gateway.public();
    // One of each dialect that only listens; frames are sent to it as well.
    let mut others = Vec::new();
    for target in &TARGETS {
        others.push(target.open(address, "12").await);
    }
    for (target, other) in TARGETS.iter().zip(&mut others) {
        assert!(target.answers(other).await, "{}", target.path);
    }
    let before = Usage::of(gateway.id()).memory;
    for target in &TARGETS {
        let mut dice = StdRng::seed_from_u64(7);
        let mut peer = target.open(address, "11").await;
        for n in 0..FRAMES {
            let frame = target.frame(&mut dice);
            let sent = match String::from_utf8(frame) {
                Ok(text) if dice.random() => peer.try_text(&text).await,
                Ok(text) => peer.try_binary(text.as_bytes()).await,
                Err(no_text) => peer.try_binary(no_text.as_bytes()).await,
            };
            // Its own connection may well be closed for it; answers are read, or it would be slow.
            if sent.is_err() || (n % 20 == 19 && !target.answers(&mut peer).await) {
                peer = target.open(address, "11").await;
            }
        }
        for (target, other) in TARGETS.iter().zip(&mut others) {
            assert!(target.answers(other).await, "{}", target.path);
        }
    }
    let grown = Usage::of(gateway.id()).memory.saturating_sub(before);
    assert!(grown < MEMORY, "{grown} bytes more");
}

/// A header that promises too much is enough: nothing is kept for it.
#[tokio::test]
async fn nothing_is_kept_for_what_is_beyond_the_limit() {
    let gateway = node().await;
    let address = gateway.public();
    for target in &TARGETS {
        let before = Usage::of(gateway.id()).memory;
        let mut open = Vec::new();
        for n in 0..20 {
            let mut raw = Raw::open(address, &format!("{}{}", target.path, 100 + n), &[]).await;
            assert!(raw.upgraded(), "{}", raw.head);
            let promised = [target.limit + 1, 1 << 30, 1 << 40, u64::MAX >> 1][n % 4];
            raw.bytes(&[header(FIN | 2, 0x80, promised), vec![0; 100]].concat())
                .await;
            open.push(raw);
        }
        for raw in &mut open {
            assert_eq!(raw.closed().await, 1009, "{}", target.path);
        }
        let grown = Usage::of(gateway.id()).memory.saturating_sub(before);
        assert!(grown < MEMORY / 8, "{}: {grown} bytes more", target.path);
    }
}
