//! Who sends too slowly, too much, or what two servers would read differently, costs little and is let go.
#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use herald_tests::{
    PATIENCE, eventually,
    gateway::{Config, FREE, SECRET, dev_gateway, dev_gateway_with, file},
    http::{self, exchange},
    neighbours::{Bad, Good},
    process::Node,
    raw::{BINARY, FIN, PING, Raw, TEXT, header, masked},
    token,
    usage::Usage,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

const MIB: u64 = 1 << 20;

fn descriptors(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.id())).unwrap().count()
}

#[tokio::test]
async fn a_frame_that_never_ends_is_no_sign_of_life() {
    let limits = "ping_interval = \"2s\"\npong_timeout = \"1s\"";
    let gateway = Config {
        limits: limits.into(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let path = format!("/ws?token={}", token::hs256(SECRET, &token::claims("mallory")));
    let mut raw = Raw::open(gateway.public(), &path, &[]).await;
    raw.json().await;
    let begin = Instant::now();
    for byte in masked(FIN | TEXT, &[b' '; 60_000]) {
        if raw.try_bytes(&[byte]).await.is_err() {
            break;
        }
        if let Ok(end) = timeout(Duration::from_millis(50), raw.end()).await {
            assert_eq!(end, Some(4003));
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "a byte at a time it goes on");
    }
    assert_eq!(raw.end().await, Some(4003));
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let gateway = dev_gateway().await;
    let flood = |count: usize, line: &str| format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{}\r\n", line.repeat(count));
    for request in [
        flood(200, "X-A: b\r\n"),
        flood(20_000, "X-A: b\r\n"),
        flood(1_000, "Cookie: token=a\r\n"),
        flood(60, &format!("X-A: {}\r\n", "x".repeat(1_000))),
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(70_000)),
    ] {
        let status = exchange(gateway.public(), request.as_bytes()).await.status;
        assert!([0, 400, 414, 431].contains(&status), "{status} to {}", &request[..60]);
    }
    assert_eq!(http::get(gateway.public(), "/nothing").await.status, 404);
}

/// The status of an upgrade from this address.
async fn upgrade_from(source: &str, address: SocketAddr) -> (u16, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(source.parse().unwrap()).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut start)).await.unwrap().unwrap();
    let status = String::from_utf8_lossy(&start[9..]).parse().unwrap();
    (status, stream)
}

#[tokio::test]
async fn a_flood_of_upgrades_is_limited_and_others_are_served() {
    let limits = "connects_per_second = 1\nconnects_burst = 20";
    let gateway = Config {
        limits: limits.into(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let begin = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(upgrade_from(FREE, gateway.public()).await);
    }
    let taken = streams.iter().filter(|(status, _)| *status == 101).count();
    let most = 21 + usize::try_from(begin.elapsed().as_secs()).unwrap();
    assert!((20..=most).contains(&taken), "{taken} of 200, and {most} may be");
    assert!(streams.iter().all(|(status, _)| [101, 429].contains(status)));
    assert_eq!(upgrade_from("127.0.0.2:0", gateway.public()).await.0, 101);
}

/// What 16 MiB frames take that were only announced.
#[tokio::test]
async fn what_is_announced_takes_no_memory() {
    let config = file("[dialects.echo]\npaths = ['/echo']\nframe = '16MiB'\n[limits]\nbytes_burst = '32MiB'\n");
    let gateway = dev_gateway_with(&["--config", config.path().to_str().unwrap()]).await;
    let mut peers = Vec::new();
    for _ in 0..300 {
        peers.push(Raw::open(gateway.public(), "/echo", &[]).await);
    }
    let before = Usage::of(gateway.id()).memory;
    for peer in &mut peers {
        peer.bytes(&[header(FIN | BINARY, 0x80, 16 * MIB), vec![0; 40]].concat())
            .await;
    }
    for address in [gateway.public(), gateway.admin()] {
        for _ in 0..100 {
            let stream = TcpStream::connect(address).await.unwrap();
            let head = format!("POST /command HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1048000\r\n\r\n");
            peers.push(Raw::around(stream));
            peers.last_mut().unwrap().bytes(head.as_bytes()).await;
        }
    }
    // A round trip of each kind after them: they have been looked at.
    let mut last = Raw::open(gateway.public(), "/echo", &[]).await;
    last.text("here").await;
    assert_eq!(last.read().await.unwrap().payload, b"here");
    let grown = Usage::of(gateway.id()).memory.saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes for {} announcements", peers.len());
}

/// Each is answered by two bytes, and those wait for one who does not read.
#[tokio::test]
async fn a_flood_of_pings_without_reading_takes_little_memory_and_ends() {
    let gateway = dev_gateway().await;
    let mut peer = Raw::narrow(gateway.public(), "/echo").await;
    let before = Usage::of(gateway.id()).memory;
    let thousand = masked(FIN | PING, b"").repeat(1_000);
    let (mut most, mut ended) = (0, false);
    // Two bytes of answer for each: first the kernel's buffers take them, some megabytes, and then the outbox.
    let end = Instant::now() + 3 * PATIENCE;
    while Instant::now() < end {
        ended = peer.try_bytes(&thousand).await.is_err();
        most = most.max(Usage::of(gateway.id()).memory.saturating_sub(before));
        if ended {
            break;
        }
    }
    assert!(ended, "one who never reads is let go");
    assert!(most < 24 * MIB, "{most} bytes");
}

#[tokio::test]
async fn an_answer_that_is_never_read_is_given_up() {
    let limits = "ping_interval = \"2s\"\npong_timeout = \"1s\"\nhttp_body = \"4MiB\"\ncommands_burst = 100000\n\
                  bytes_per_second = \"100MiB\"\nbytes_burst = \"100MiB\"";
    let gateway = Config {
        limits: limits.into(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let bearer = format!(
        "Authorization: Bearer {}\r\n",
        token::hs256(SECRET, &token::claims("alice"))
    );
    for n in 0..100 {
        let send =
            json!({"send": {"to": {"user": "alice"}, "body": "x".repeat(60_000), "key": n.to_string()}}).to_string();
        let request = format!(
            "POST /command HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{bearer}Content-Length: {}\r\n\r\n{send}",
            send.len()
        );
        assert_eq!(exchange(gateway.public(), request.as_bytes()).await.status, 200);
    }
    let before = descriptors(&gateway);
    let poll = json!({"history": {"of": {"user": true}, "limit": 1000}}).to_string();
    let request = format!(
        "POST /command HTTP/1.1\r\nHost: h\r\n{bearer}Content-Length: {}\r\n\r\n{poll}",
        poll.len()
    );
    let mut streams = Vec::new();
    for _ in 0..20 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(gateway.public()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // One of those that have sent may have been counted and be gone by now.
    eventually("the twenty are being answered", async || {
        descriptors(&gateway) >= before + 15
    })
    .await;
    eventually("and given up", async || descriptors(&gateway) <= before).await;
}

/// The request that an attacker would have another server take for part of a body.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn what_two_servers_would_read_differently_is_refused() {
    let gateway = dev_gateway().await;
    let length = HIDDEN.len();
    for (what, headers, body) in [
        (
            "a length and chunks",
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("0\r\n\r\n{HIDDEN}"),
        ),
        (
            "chunks and a length",
            format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", 5 + length),
            format!("0\r\n\r\n{HIDDEN}"),
        ),
        (
            "two lengths",
            format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
            HIDDEN.to_owned(),
        ),
        (
            "two lengths, the other way round",
            format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
            HIDDEN.to_owned(),
        ),
        (
            "two lengths in one",
            format!("Content-Length: 0, {length}\r\n"),
            HIDDEN.to_owned(),
        ),
        (
            "a length with a sign",
            format!("Content-Length: +{length}\r\n"),
            HIDDEN.to_owned(),
        ),
        (
            "a length in hex",
            "Content-Length: 0x2a\r\n".to_owned(),
            HIDDEN.to_owned(),
        ),
        (
            "a length beyond 64 bits",
            "Content-Length: 18446744073709551616\r\n".to_owned(),
            HIDDEN.to_owned(),
        ),
        (
            "an encoding that is not known",
            "Transfer-Encoding: xchunked\r\n".to_owned(),
            format!("0\r\n\r\n{HIDDEN}"),
        ),
        (
            "chunked, but not last",
            "Transfer-Encoding: chunked, identity\r\n".to_owned(),
            format!("0\r\n\r\n{HIDDEN}"),
        ),
        (
            "a control character before chunked",
            "Transfer-Encoding: \x0bchunked\r\n".to_owned(),
            format!("0\r\n\r\n{HIDDEN}"),
        ),
        (
            "a space before the colon",
            "Transfer-Encoding : chunked\r\n".to_owned(),
            format!("0\r\n\r\n{HIDDEN}"),
        ),
        (
            "a folded line",
            "X-A: b\r\n Transfer-Encoding: chunked\r\n".to_owned(),
            format!("0\r\n\r\n{HIDDEN}"),
        ),
        (
            "a folded value",
            format!("Content-Length:\r\n {length}\r\n"),
            HIDDEN.to_owned(),
        ),
        (
            "a chunk beyond 64 bits",
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("10000000000000000\r\n{HIDDEN}"),
        ),
        (
            "a chunk's size with a sign",
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("+0\r\n\r\n{HIDDEN}"),
        ),
        (
            "a line end within a value",
            "X-A: b\rTransfer-Encoding: chunked\r\n".to_owned(),
            HIDDEN.to_owned(),
        ),
        ("a NUL", "X-A: b\0c\r\n".to_owned(), HIDDEN.to_owned()),
    ] {
        for (address, path) in [(gateway.public(), "/login"), (gateway.admin(), "/api/v1/messages")] {
            let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}");
            let answer = raw_answer(address, request.as_bytes()).await;
            let answers = answer.matches("HTTP/1.1 ").count();
            assert!(
                answers <= 1,
                "{what} at {path}: the hidden request was answered: {answer}"
            );
            assert!(
                answers == 0 || answer.starts_with("HTTP/1.1 4"),
                "{what} at {path}: {answer}"
            );
        }
    }
    // Chunks alone are fine, and what follows them is a request of its own.
    let chunked = "POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnull\r\n0\r\n\r\n";
    let last = HIDDEN.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer = raw_answer(gateway.public(), format!("{chunked}{last}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer}");
}

/// All that comes within a moment, or until the end.
async fn raw_answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // Most end by themselves. Of one that waits for more nothing is to be expected after this.
    let _late = timeout(Duration::from_secs(3), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// In small what `bench-neighbours` does with ten thousand.
#[tokio::test]
async fn bad_neighbours_are_let_go_by_their_deadlines_and_good_ones_are_served() {
    let limits = "ping_interval = \"2s\"\npong_timeout = \"1s\"\nconnect_timeout = \"5s\"";
    let gateway = Config {
        limits: limits.into(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let good = Good::connect(gateway.public(), 20, |user| token::hs256(SECRET, &token::claims(user))).await;
    let before = descriptors(&gateway);
    let bad = Bad::connect(gateway.public(), 400).await;
    eventually("they are there", async || descriptors(&gateway) > before + 200).await;
    let served = good.served_for(Duration::from_secs(3)).await;
    assert!(served.answers > 20 && served.unanswered == 0, "{served:?}");
    eventually("the bad are gone", async || bad.gone() == 400).await;
    eventually("and leave nothing behind", async || descriptors(&gateway) <= before).await;
    let served = good.served_for(Duration::from_secs(1)).await;
    assert_eq!(served.unanswered, 0, "{served:?}");
}
