//! Article 002's clients at their work, wherever Herald is.

use std::net::SocketAddr;

use super::Go;

const SAMPLE: &str = "0000006ee68891e4bbace983bde5a5bd";

pub async fn the_echo_client_is_served(address: SocketAddr) {
    let mut client = Go::dial("article002", address, "/echo").await;
    client.say("time").await;
    assert!(client.next().await.starts_with("text 20"));
    // As it came, one for one and in order.
    for n in 0..100 {
        client.say(&format!("text {n}")).await;
        client.say(&format!("frame 110 {n}")).await;
    }
    for n in 0..100 {
        client.hears(&format!("text {n}")).await;
        let digits: String = n.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        client.hears(&format!("binary 0000006e{digits}")).await;
    }
    client.say("frame 110 我们都好").await;
    client.hears(&format!("binary {SAMPLE}")).await;
    client.say("short").await;
    client.hears("binary 000001").await;
    client.close().await;
}

pub async fn the_service_client_is_served(address: SocketAddr) {
    let mut client = Go::dial("article002", address, "/serv/").await;
    // 110 and 111 are answered by the development service, with what it got.
    client.say("frame 110 我们都好").await;
    client.hears(&format!("binary {SAMPLE}")).await;
    for n in 0..50 {
        client.say(&format!("frame {} {n}", 110 + n % 2)).await;
    }
    for n in 0..50 {
        let digits: String = n.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        client.hears(&format!("binary 000000{:02x}{digits}", 110 + n % 2)).await;
    }
    client.close().await;
}
