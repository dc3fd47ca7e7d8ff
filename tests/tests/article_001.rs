//! Article 001: its client, as it was written, and what its server got wrong.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    article::{Frame, Go, Nodes, Peer},
    client::Client,
    eventually,
    gateway::{Config, SECRET, dev_gateway},
    http::{DEV_API_KEY, request},
    token::{claims, hs256},
    upgrade::Upgrade,
};
use serde_json::json;

/// For what must not happen.
const A_WHILE: Duration = Duration::from_millis(500);

const PONG: &str = "from= to= content=pong type=0/heatbeat/0 name= file=0";

async fn welcomed(nodes: &Nodes, last: bool, user: &str) -> Go {
    let address = if last { nodes.last() } else { nodes.first() };
    let mut client = Go::dial("article001", address, &format!("/socket.io?user={user}")).await;
    let welcome = format!("from=System to={user} content=welcome! type=0//0 name= file=0");
    client.hears(&welcome).await;
    client
}

async fn its_client_is_served(nodes: &Nodes) {
    nodes.group("g1", &["alice", "bob", "carol"]).await;
    let mut alice = welcomed(nodes, false, "alice").await;
    let mut bob = welcomed(nodes, true, "bob").await;
    let mut eve = welcomed(nodes, true, "eve").await;

    alice.say("heartbeat").await;
    alice.hears(PONG).await;

    alice.say("say alice bob 1 hello bob").await;
    bob.hears("from=alice to=bob content=hello bob type=1//1 name=name of alice file=0")
        .await;

    // To its members a group's message comes from the group; its sender has seen it.
    alice.say("say alice g1 2 hello all").await;
    bob.hears("from=g1 to=alice content=hello all type=1//2 name=name of alice file=0")
        .await;
    alice.say("heartbeat").await;
    alice.hears(PONG).await;

    // Only by members.
    eve.say("say eve g1 2 let me in").await;
    eve.hears("from=System to= content=forbidden: not a member of g1 type=0//0 name= file=0")
        .await;

    // Who was away gets all but the calls.
    alice.say("signal alice carol offer").await;
    alice.say("signal alice bob offer").await;
    bob.hears("from=alice to=bob content=offer type=7/webrtc/1 name= file=0")
        .await;
    alice.say("file alice carol 1000000").await;
    alice.say("say alice carol 1 see you").await;
    alice.say("heartbeat").await;
    alice.hears(PONG).await;
    // The pong says nothing of when the others are stored; another message to bob comes behind them.
    alice.say("say alice bob 1 all sent").await;
    bob.hears("from=alice to=bob content=all sent type=1//1 name=name of alice file=0")
        .await;
    let mut carol = welcomed(nodes, true, "carol").await;
    carol
        .hears("from=alice to=carol content=a.bin type=2//1 name= file=1000000")
        .await;
    carol
        .hears("from=alice to=carol content=see you type=1//1 name=name of alice file=0")
        .await;

    // Some large ones at once make nobody a slow reader.
    for _ in 0..3 {
        alice.say("file alice carol 900000").await;
    }
    for _ in 0..3 {
        carol
            .hears("from=alice to=carol content=a.bin type=2//1 name= file=900000")
            .await;
    }

    // Calls are nobody else's.
    carol.say("signal carol alice answer").await;
    alice
        .hears("from=carol to=alice content=answer type=7/webrtc/1 name= file=0")
        .await;
    for client in [&mut bob, &mut eve] {
        client.say("heartbeat").await;
        client.hears(PONG).await;
    }
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn its_client_is_served_by_one_node() {
    its_client_is_served(&Nodes::one().await).await;
}

#[tokio::test]
async fn its_client_is_served_by_two_nodes() {
    its_client_is_served(&Nodes::two().await).await;
}

/// What a client has proven to have received is not given again; what it has not is.
#[tokio::test]
async fn who_comes_back_goes_on_where_it_was() {
    let nodes = Nodes::one().await;
    let mut alice = welcomed(&nodes, false, "alice").await;
    let message = |n: u8| {
        [
            b"\x1a\x05alice\x22\x03bob\x2a\x01".as_slice(),
            &[b'0' + n],
            b"\x30\x01\x40\x01",
        ]
        .concat()
    };
    let text = |n: u8| String::from_utf8(message(n)).unwrap();
    let sent = |n: u8| format!("say alice bob 1 {n}");
    let come = async || {
        let mut bob = Peer::open(nodes.first(), "/socket.io?user=bob").await;
        assert!(bob.next_binary().await.ends_with(b"welcome!"));
        bob
    };
    let hears = async |bob: &mut Peer, n: u8| {
        let frame = bob.next_binary().await;
        assert!(frame.ends_with(&message(n)), "{n}: {frame:?} is not {}", text(n));
    };
    alice.say(&sent(1)).await;
    let mut bob = come().await;
    hears(&mut bob, 1).await;
    drop(bob);
    // It proved nothing.
    let mut bob = come().await;
    hears(&mut bob, 1).await;
    // Behind the message the server asks for proof; what is answered behind the proof shows that it has come.
    bob.answers_a_ping().await;
    bob.binary(b"\x3a\x08heatbeat").await;
    bob.next_binary().await;
    drop(bob);
    alice.say(&sent(2)).await;
    let mut bob = come().await;
    hears(&mut bob, 2).await;
}

/// The node that a client was connected to ends in good order, and the client goes on with another.
#[tokio::test]
async fn a_drain_loses_nothing_and_repeats_nothing_that_was_proven() {
    let mut nodes = Nodes::two().await;
    let mut alice = welcomed(&nodes, true, "alice").await;
    let mut bob = Peer::open(nodes.first(), "/socket.io?user=bob").await;
    bob.next_binary().await;
    alice.say("say alice bob 1 one").await;
    assert!(String::from_utf8_lossy(&bob.next_binary().await).contains("one"));
    bob.answers_a_ping().await;
    bob.binary(b"\x3a\x08heatbeat").await;
    bob.next_binary().await;
    nodes.drain_first();
    assert_eq!(bob.next().await, Frame::Closed(4000));
    nodes.first_has_ended().await;
    alice.say("say alice bob 1 two").await;
    let mut bob = Peer::open(nodes.last(), "/socket.io?user=bob").await;
    assert!(bob.next_binary().await.ends_with(b"welcome!"));
    assert!(String::from_utf8_lossy(&bob.next_binary().await).contains("two"));
}

/// Byte for byte.
#[tokio::test]
async fn frames_are_as_the_original_makes_them() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let mut alice = Peer::open(address, "/socket.io?user=alice").await;
    assert_eq!(
        alice.next_binary().await,
        b"\x1a\x06System\x22\x05alice\x2a\x08welcome!"
    );
    // The frame's type is ignored.
    alice.text("\u{3a}\u{8}heatbeat").await;
    assert_eq!(alice.next_binary().await, b"\x2a\x04pong\x3a\x08heatbeat");
    // What is not known passes through: here field 99, and one in front of all others; the spoofed sender does not.
    let mut bob = Peer::open(address, "/socket.io?user=bob").await;
    bob.next_binary().await;
    alice
        .binary(b"\x1a\x03eve\x22\x03bob\x2a\x02hi\x30\x01\x9a\x06\x03xyz\x40\x01")
        .await;
    assert_eq!(
        bob.next_binary().await,
        b"\x1a\x05alice\x22\x03bob\x2a\x02hi\x30\x01\x9a\x06\x03xyz\x40\x01"
    );
}

#[tokio::test]
async fn garbage_reaches_nobody_and_cuts_nobody() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let mut alice = Peer::open(address, "/socket.io?user=alice").await;
    let mut bob = Peer::open(address, "/socket.io?user=bob").await;
    alice.next_binary().await;
    bob.next_binary().await;
    for garbage in [
        &b"\xff"[..],
        b"\x0a\xff",
        b"\x2a\x02\xff\xfe",
        b"\x28\x01",
        b"\x0b\x0c",
        b"\x00\x00",
        b"\x3a\x06webrtc",
    ] {
        alice.binary(garbage).await;
        let answer = alice.next_binary().await;
        assert!(answer.starts_with(b"\x1a\x06System"), "{garbage:?}");
    }
    assert_eq!(bob.hears_within(A_WHILE).await, None);
    // Of many heartbeats each is answered.
    for _ in 0..2_000 {
        alice.binary(b"\x3a\x08heatbeat").await;
    }
    for _ in 0..2_000 {
        assert_eq!(alice.next_binary().await, b"\x2a\x04pong\x3a\x08heatbeat");
    }
}

#[tokio::test]
async fn a_name_in_the_url_is_not_believed() {
    let gateway = Config {
        rest: "[dialects.im]\npaths = ['/socket.io', '/im']\nframe = '256KiB'\n".to_owned(),
        limits: "commands_per_second = 10\ncommands_burst = 20\n".to_owned(),
        ..Config::default()
    };
    let gateway = gateway.start().await;
    let address = gateway.public();
    let alice = hs256(SECRET, &claims("alice"));
    let open = |path: &str| Upgrade::to(address).path(path);
    assert_eq!(open("/socket.io?user=alice").open().await.err(), Some(401));
    let upgrade = open("/socket.io?user=bob").header("Authorization", &format!("Bearer {alice}"));
    assert_eq!(upgrade.open().await.err(), Some(403));
    let mut peer = Peer::open(address, &format!("/im?user=alice&token={alice}")).await;
    assert!(peer.next_binary().await.ends_with(b"welcome!"));
    // Nobody may send to all without the claim.
    peer.binary(b"\x2a\x05hello\x30\x01").await;
    let refused = peer.next_binary().await;
    assert!(String::from_utf8_lossy(&refused).contains("forbidden: "), "{refused:?}");
    // Who floods is told so, and in the end closed.
    for _ in 0..2_000 {
        if peer.try_binary(b"\x3a\x08heatbeat").await.is_err() {
            break;
        }
    }
    assert_eq!(peer.closed().await, 4004);
    let mut large = Peer::open(address, &format!("/im?user=alice&token={alice}")).await;
    large.next_binary().await;
    large.binary(&vec![0; (256 << 10) + 1]).await;
    assert_eq!(large.closed().await, 1009);
}

#[tokio::test]
async fn an_old_sockets_close_leaves_the_newer_one_alone() {
    let nodes = Nodes::one().await;
    let old = welcomed(&nodes, false, "bob").await;
    let mut new = welcomed(&nodes, false, "bob").await;
    old.close().await;
    let mut native = Client::dev(nodes.first(), "7").await;
    native.say(json!({"user": "bob"}), json!("hello")).await;
    new.hears("from=7 to=bob content=hello type=1//1 name=7 file=0").await;
    // And back: text as a JSON string, a file as bytes.
    new.say("say bob 7 1 hello 7").await;
    assert_eq!(native.next_message().await["body"], "hello 7");
    new.say("file bob 7 3").await;
    let file = native.next_message().await;
    assert_eq!((&file["body_base64"], &file["from"]), (&json!("AAAA"), &json!("bob")));
}

#[tokio::test]
async fn who_is_kicked_is_gone_and_may_come_again() {
    let nodes = Nodes::one().await;
    let mut alice = Peer::open(nodes.first(), "/socket.io?user=alice").await;
    alice.next_binary().await;
    let bearer = format!("Bearer {DEV_API_KEY}");
    let headers = [("Authorization", bearer.as_str())];
    let kicked = request(
        nodes.admin(),
        "DELETE",
        "/api/v1/users/alice/connections",
        &headers,
        b"",
    )
    .await;
    assert!(kicked.status < 300, "{kicked:?}");
    assert_eq!(alice.next().await, Frame::Closed(4102));
    // Until the second of the kick is over, alice is not let in.
    eventually("the kick is over", async || {
        let upgrade = Upgrade::to(nodes.first()).path("/socket.io?user=alice");
        let Ok(mut again) = Peer::try_of(upgrade).await else {
            return false;
        };
        matches!(again.next().await, Frame::Binary(frame) if frame.ends_with(b"welcome!"))
    })
    .await;
}

/// Large ones too, while one does not read at all.
#[tokio::test]
async fn one_who_stalls_stops_nobody() {
    let gateway = dev_gateway().await;
    let address = gateway.public();
    let mut alice = Peer::open(address, "/socket.io?user=alice").await;
    let mut bob = Peer::open(address, "/socket.io?user=bob").await;
    let _stalled = Peer::of(Upgrade::to(address).path("/socket.io?user=eve").narrow()).await;
    alice.next_binary().await;
    bob.next_binary().await;
    // To eve and to all: field 11 with 100 KB.
    let file = vec![7; 100_000];
    for n in 0..50_u8 {
        let mut message = b"\x22\x03eve\x2a\x01a\x30\x02\x5a\xa0\x8d\x06".to_vec();
        message.extend(&file);
        alice.binary(&message).await;
        alice
            .binary(&[0x22, 3, b'b', b'o', b'b', 0x2a, 1, b'a' + n % 26, 0x30, 1])
            .await;
        assert!(bob.next_binary().await.starts_with(b"\x1a\x05alice"), "{n}");
    }
}
