//! Article 001: the largest files pass, or their sender is told; and what several devices of one user are given.
#![allow(clippy::unwrap_used)]

use herald_tests::{
    article::{Nodes, Peer},
    cluster::Cluster,
    gateway::dev_gateway,
    nats::NatsServer,
    process::Node,
};

const LARGEST: usize = 1 << 20;
const HEARTBEAT: &[u8] = b"\x3a\x08heatbeat";

/// A file for bob: a frame of this size.
fn file(size: usize) -> Vec<u8> {
    let mut frame = b"\x22\x03bob\x2a\x01f\x30\x02\x5a".to_vec();
    // The length of its length, for these sizes.
    let mut length = size - frame.len() - 3;
    for _ in 0..2 {
        frame.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    frame.push(u8::try_from(length).unwrap());
    frame.resize(size, 7);
    frame
}

async fn welcomed(gateway: &Node, user: &str) -> Peer {
    let mut peer = Peer::open(gateway.public(), &format!("/socket.io?user={user}")).await;
    assert!(peer.next_binary().await.ends_with(b"welcome!"));
    peer
}

async fn the_largest_passes(from: &Node, to: &Node) {
    let mut alice = welcomed(from, "alice").await;
    let mut bob = welcomed(to, "bob").await;
    for _ in 0..3 {
        alice.binary(&file(LARGEST)).await;
        let frame = bob.next_binary().await;
        assert!(frame.starts_with(b"\x1a\x05alice\x22\x03bob\x2a\x01f") && frame.len() == LARGEST + 7);
    }
    // And comes again, from the log.
    drop(bob);
    let mut bob = welcomed(to, "bob").await;
    assert_eq!(bob.next_binary().await.len(), LARGEST + 7);
    alice.binary(&file(LARGEST + 1)).await;
    assert_eq!(alice.closed().await, 1009);
}

#[tokio::test]
async fn the_largest_file_passes_in_memory() {
    let gateway = dev_gateway().await;
    the_largest_passes(&gateway, &gateway).await;
}

/// With the deployed limit.
#[tokio::test]
async fn the_largest_file_passes_through_nats() {
    let deployed = include_str!("../../deploy/nats.conf");
    let limit = deployed.lines().find(|line| line.starts_with("max_payload")).unwrap();
    let nats = NatsServer::start_with(limit).await;
    let cluster = Cluster::over(nats.url(), nats, 1, 2, "").await;
    let [one, two] = &cluster.gateways[..] else {
        unreachable!()
    };
    the_largest_passes(one, two).await;
    assert!(!one.log().contains("dialects.im.frame"), "{}", one.log());
}

/// With the default of NATS the largest do not pass: their sender is told why, and whoever runs the node as well.
#[tokio::test]
async fn a_file_that_nats_does_not_take_is_refused_with_a_word() {
    let cluster = Cluster::start(1, 1).await;
    let gateway = &cluster.gateways[0];
    let mut alice = welcomed(gateway, "alice").await;
    let mut bob = welcomed(gateway, "bob").await;
    // Around the size where the gateway's request still passes, and what the router makes of it does not.
    let (mut passed, mut refused) = (0, 0);
    for below in (0..1_000).step_by(20) {
        alice.binary(&file(LARGEST - below)).await;
        alice.binary(b"\x22\x03bob\x2a\x03end").await;
        if bob.next_binary().await.len() > LARGEST / 2 {
            passed += 1;
            assert!(bob.next_binary().await.ends_with(b"end"), "{below}");
        } else {
            refused += 1;
            let answer = alice.next_binary().await;
            assert!(answer.starts_with(b"\x1a\x06System"), "{below}");
            assert!(String::from_utf8_lossy(&answer).contains("too_large: "), "{below}");
        }
    }
    assert!(passed > 5 && refused > 5, "{passed} passed, {refused} were refused");
    assert!(
        gateway
            .log()
            .contains("dialects.im.frame may be more than the message bus takes")
    );
}

/// Of two devices of one user that hear at the same time each is given what it has not proved to have, whatever the other
/// has proved.
#[tokio::test]
async fn what_only_another_device_has_proved_is_given_again() {
    let nodes = Nodes::one().await;
    let come = async || {
        let mut bob = Peer::open(nodes.first(), "/socket.io?user=bob").await;
        assert!(bob.next_binary().await.ends_with(b"welcome!"));
        bob
    };
    let proves = async |bob: &mut Peer| {
        bob.answers_a_ping().await;
        bob.binary(HEARTBEAT).await;
        bob.next_binary().await;
    };
    let mut alice = Peer::open(nodes.first(), "/socket.io?user=alice").await;
    alice.next_binary().await;
    let mut say = async |text: &str| {
        let mut frame = b"\x22\x03bob\x2a".to_vec();
        frame.push(u8::try_from(text.len()).unwrap());
        frame.extend(text.as_bytes());
        alice.binary(&frame).await;
    };
    let hears = async |bob: &mut Peer, text: &str| {
        let frame = bob.next_binary().await;
        assert!(frame.ends_with(text.as_bytes()), "{frame:?} is not {text}");
    };
    // The first proves what it has: from here on there is a cursor.
    say("zero").await;
    let (mut tablet, mut phone) = (come().await, come().await);
    for device in [&mut tablet, &mut phone] {
        hears(device, "zero").await;
        proves(device).await;
    }
    // The phone is asked for proof, gives none, and goes.
    say("one").await;
    hears(&mut tablet, "one").await;
    hears(&mut phone, "one").await;
    proves(&mut tablet).await;
    drop(phone);
    nodes.has_connections("im", 2).await;
    say("two").await;
    hears(&mut tablet, "two").await;
    proves(&mut tablet).await;
    let mut phone = come().await;
    hears(&mut phone, "one").await;
    hears(&mut phone, "two").await;
    // Now that it has proved all as well, nothing is held back any more.
    proves(&mut phone).await;
    drop(phone);
    nodes.has_connections("im", 2).await;
    say("three").await;
    hears(&mut tablet, "three").await;
    let mut phone = come().await;
    hears(&mut phone, "three").await;
}
