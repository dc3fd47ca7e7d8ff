//! History: what was said before can be read page by page, in one process as in a cluster.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use herald_tests::{
    client::{Client, Dialect},
    cluster::Cluster,
    eventually,
    gateway::dev_gateway,
    token,
};
use serde_json::{Value, json};

/// Each promise for a gateway that stands alone, and for two of a cluster.
macro_rules! everywhere {
    ($($promise:ident)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $promise() {
                let gateway = crate::dev_gateway().await;
                crate::$promise([gateway.public(), gateway.public()]).await;
            })*
        }
        mod cluster {
            $(#[tokio::test]
            async fn $promise() {
                let cluster = crate::Cluster::start(2, 2).await;
                crate::$promise([cluster.gateways[0].public(), cluster.gateways[1].public()]).await;
            })*
        }
    };
}

everywhere! {
    the_newest_come_unless_one_says_from_where
    pages_give_all_once_and_ascending_in_either_direction
    a_group_is_read_by_its_members_only
    an_inbox_holds_copies_and_no_changes_of_groups
    everybody_reads_what_was_for_all
    what_cannot_be_is_refused
    another_logs_offset_is_a_gap
    what_has_expired_is_gone
    large_messages_come_over_several_pages
    who_asks_for_much_at_once_is_answered
}

fn group() -> Value {
    json!({"group": "g1"})
}

async fn on(address: SocketAddr, dialect: Dialect, user: &str) -> Client {
    let token = token::dev_with(user, &json!({"broadcast": true}));
    Client::with_token(address, dialect, &token).await
}

async fn history(client: &mut Client, query: Value) -> Value {
    client.ask(json!({"history": query}), "history").await
}

fn messages(history: &Value) -> &[Value] {
    history["messages"].as_array().unwrap()
}

fn bodies(history: &Value) -> Vec<Value> {
    messages(history)
        .iter()
        .map(|message| message["body"].clone())
        .collect()
}

fn sequence(message: &Value) -> u64 {
    let (_, sequence) = message["offset"].as_str().unwrap().split_once(':').unwrap();
    sequence.parse().unwrap()
}

/// The log's part of an offset.
fn log(sent: &Value) -> String {
    let (log, _) = sent["offset"].as_str().unwrap().split_once(':').unwrap();
    log.to_owned()
}

/// All pages from `first` on, following `more`.
async fn pages(client: &mut Client, first: Value, forwards: bool) -> Vec<Vec<Value>> {
    let mut query = first;
    let mut pages = Vec::new();
    loop {
        let page = history(client, query.clone()).await;
        assert_eq!(page["gap"], false);
        pages.push(messages(&page).to_vec());
        if page["more"] == false {
            return pages;
        }
        let (name, edge) = match forwards {
            true => ("after", messages(&page).last()),
            false => ("before", messages(&page).first()),
        };
        query[name] = edge.expect("a page that is not the last holds something")["offset"].clone();
    }
}

async fn the_newest_come_unless_one_says_from_where([one, two]: [SocketAddr; 2]) {
    let mut alice = on(one, Dialect::Json, "alice").await;
    alice.join("g1").await;
    let empty = history(&mut alice, json!({"of": group()})).await;
    assert_eq!(empty, json!({"messages": [], "more": false, "gap": false}));
    for n in 0..60 {
        alice.say(group(), json!(n)).await;
    }
    let pushed = alice.messages(60).await;
    for dialect in Dialect::BOTH {
        let mut desk = on(two, dialect, "alice").await;
        let newest = history(&mut desk, json!({"of": group()})).await;
        assert_eq!(messages(&newest), &pushed[10..], "as they were pushed");
        assert_eq!((&newest["more"], &newest["gap"]), (&json!(true), &json!(false)));
        let after = &pushed[20]["offset"];
        let page = history(&mut desk, json!({"of": group(), "after": after, "limit": 5})).await;
        assert_eq!(messages(&page), &pushed[21..26]);
        let page = history(&mut desk, json!({"of": group(), "before": after, "limit": 5})).await;
        assert_eq!(messages(&page), &pushed[15..20]);
        let last = &pushed[59]["offset"];
        let page = history(&mut desk, json!({"of": group(), "after": last})).await;
        assert_eq!(page, json!({"messages": [], "more": false, "gap": false}));
    }
}

async fn pages_give_all_once_and_ascending_in_either_direction([one, two]: [SocketAddr; 2]) {
    const COUNT: usize = 230;
    let mut alice = on(one, Dialect::Json, "alice").await;
    alice.join("g1").await;
    let mut log_name = String::new();
    for n in 0..COUNT {
        log_name = log(&alice.say(group(), json!(n)).await);
        // Others' messages stand between them.
        alice.say(json!({"user": format!("u{}", n % 7)}), json!("other")).await;
    }
    let expected: Vec<Value> = (0..COUNT).map(|n| json!(n)).collect();
    for dialect in Dialect::BOTH {
        let mut desk = on(two, dialect, "alice").await;
        for limit in [1_000, 100, 23] {
            let first = json!({"of": group(), "limit": limit, "after": format!("{log_name}:0")});
            let forth = pages(&mut desk, first, true).await;
            let mut back = pages(&mut desk, json!({"of": group(), "limit": limit}), false).await;
            back.reverse();
            for pages in [forth, back] {
                assert_eq!(pages.len(), COUNT.div_ceil(limit));
                let all = pages.concat();
                assert!(all.is_sorted_by(|a, b| sequence(a) < sequence(b)));
                let bodies: Vec<Value> = all.into_iter().map(|message| message["body"].clone()).collect();
                assert_eq!(bodies, expected);
            }
        }
    }
}

async fn a_group_is_read_by_its_members_only([one, two]: [SocketAddr; 2]) {
    let mut alice = on(one, Dialect::Json, "alice").await;
    alice.join("g1").await;
    alice.say(group(), json!("secret")).await;
    let query = json!({"history": {"of": group()}});
    for dialect in Dialect::BOTH {
        let mut mallory = on(two, dialect, "mallory").await;
        assert_eq!(mallory.refused(query.clone()).await, "forbidden");
        // Once answered, it holds on every node.
        mallory.join("g1").await;
        let mut desk = on(one, dialect, "mallory").await;
        assert_eq!(
            bodies(&history(&mut desk, json!({"of": group()})).await),
            [json!("secret")]
        );
        mallory.ask(json!({"leave": {"group": "g1"}}), "left").await;
        assert_eq!(desk.refused(query.clone()).await, "forbidden");
    }
}

async fn an_inbox_holds_copies_and_no_changes_of_groups([one, two]: [SocketAddr; 2]) {
    let mut alice = on(one, Dialect::Json, "alice").await;
    let mut bob = on(two, Dialect::Json, "bob").await;
    alice.join("g1").await;
    let send = json!({"to": {"user": "bob"}, "body": "copied", "copy": true});
    let sent = alice.ask(json!({"send": send}), "sent").await;
    alice.say(json!({"user": "bob"}), json!("plain")).await;
    bob.say(json!({"user": "alice"}), json!("back")).await;
    alice.ask(json!({"leave": {"group": "g1"}}), "left").await;
    for dialect in Dialect::BOTH {
        let mut desk = on(two, dialect, "alice").await;
        let inbox = history(&mut desk, json!({"of": {"user": true}, "limit": 2})).await;
        let [copy, back] = messages(&inbox) else {
            panic!("{inbox}")
        };
        assert_eq!((&copy["id"], &copy["body"]), (&sent["id"], &json!("copied")));
        assert_eq!((&copy["from"], &copy["to"]), (&json!("alice"), &json!({"user": "bob"})));
        assert_eq!((&back["from"], &back["to"]), (&json!("bob"), &json!({"user": "alice"})));
        let mut phone = on(one, dialect, "bob").await;
        let inbox = history(&mut phone, json!({"of": {"user": true}})).await;
        assert_eq!(bodies(&inbox), [json!("copied"), json!("plain")], "one's own only");
    }
}

async fn everybody_reads_what_was_for_all([one, two]: [SocketAddr; 2]) {
    let mut alice = on(one, Dialect::Json, "alice").await;
    for n in 0..3 {
        alice.say(json!({"all": true}), json!(n)).await;
    }
    for dialect in Dialect::BOTH {
        let mut bob = Client::with_token(two, dialect, &token::dev("bob")).await;
        let page = history(&mut bob, json!({"of": {"all": true}})).await;
        assert_eq!(bodies(&page), [json!(0), json!(1), json!(2)]);
        assert!(
            messages(&page).iter().all(|m| m["to"] == json!({"all": true})),
            "{page}"
        );
    }
}

async fn what_cannot_be_is_refused([one, _]: [SocketAddr; 2]) {
    for dialect in Dialect::BOTH {
        let mut alice = on(one, dialect, "alice").await;
        let offset = alice.say(json!({"user": "alice"}), json!(1)).await["offset"].clone();
        let of = json!({"user": true});
        for (after, before) in [
            (json!("x"), Value::Null),
            (Value::Null, json!("x")),
            (json!(""), Value::Null),
            (Value::Null, json!("5f3a@0:1")),
            (offset.clone(), offset.clone()),
        ] {
            let query = json!({"history": {"of": of, "after": after, "before": before}});
            assert_eq!(alice.refused(query.clone()).await, "bad_request", "{query}");
        }
        for limit in [0, 1_001, u32::MAX] {
            let query = json!({"history": {"of": of, "limit": limit}});
            assert_eq!(alice.refused(query).await, "bad_request", "{limit}");
        }
        for of in [json!({}), json!({"user": true, "all": true}), json!({"group": ""})] {
            assert_eq!(
                alice.refused(json!({"history": {"of": of}})).await,
                "bad_request",
                "{of}"
            );
        }
        let last = history(&mut alice, json!({"of": of, "limit": 1_000})).await;
        assert!(!messages(&last).is_empty(), "the connection stays");
    }
}

async fn another_logs_offset_is_a_gap([one, _]: [SocketAddr; 2]) {
    let mut alice = on(one, Dialect::Json, "alice").await;
    for n in 0..10 {
        alice.say(json!({"user": "alice"}), json!(n)).await;
    }
    for dialect in Dialect::BOTH {
        let mut desk = on(one, dialect, "alice").await;
        for (name, expected) in [("after", [0, 1, 2]), ("before", [7, 8, 9])] {
            let mut query = json!({"of": {"user": true}, "limit": 3});
            query[name] = json!("5f3a.0:5");
            let page = history(&mut desk, query).await;
            assert_eq!(bodies(&page), expected.map(|n| json!(n)), "{name}");
            assert_eq!((&page["gap"], &page["more"]), (&json!(true), &json!(true)));
        }
    }
}

async fn what_has_expired_is_gone([one, two]: [SocketAddr; 2]) {
    let mut alice = on(one, Dialect::Json, "alice").await;
    let mut desk = on(two, Dialect::Proto, "alice").await;
    for (body, ttl) in [("short", 1), ("long", 3_600), ("short", 1), ("kept", 0)] {
        let send = json!({"to": {"user": "alice"}, "body": body, "ttl": ttl});
        alice.ask(json!({"send": send}), "sent").await;
    }
    eventually("only what is kept is read", async || {
        let page = history(&mut desk, json!({"of": {"user": true}, "limit": 2})).await;
        bodies(&page) == [json!("long"), json!("kept")] && page["gap"] == false
    })
    .await;
}

/// Thirty bodies of 60 KiB.
async fn say_much(alice: &mut Client) -> String {
    alice.join("g1").await;
    let mut log_name = String::new();
    for n in 0..30 {
        let body = format!("{n:02}{}", "x".repeat(60 << 10));
        log_name = log(&alice.say(group(), json!(body)).await);
    }
    log_name
}

async fn large_messages_come_over_several_pages([one, two]: [SocketAddr; 2]) {
    let mut alice = on(one, Dialect::Json, "alice").await;
    let log_name = say_much(&mut alice).await;
    for dialect in Dialect::BOTH {
        let mut desk = on(two, dialect, "alice").await;
        let first = json!({"of": group(), "limit": 1_000, "after": format!("{log_name}:0")});
        let forth = pages(&mut desk, first, true).await;
        let mut back = pages(&mut desk, json!({"of": group(), "limit": 1_000}), false).await;
        back.reverse();
        for pages in [forth, back] {
            assert!((4..=10).contains(&pages.len()), "{}", pages.len());
            assert!(pages.iter().all(|page| !page.is_empty()));
            let numbers: Vec<usize> = pages
                .concat()
                .iter()
                .map(|message| message["body"].as_str().unwrap()[..2].parse().unwrap())
                .collect();
            assert_eq!(numbers, (0..30).collect::<Vec<_>>());
        }
    }
}

async fn who_asks_for_much_at_once_is_answered([one, two]: [SocketAddr; 2]) {
    let mut alice = on(one, Dialect::Json, "alice").await;
    say_much(&mut alice).await;
    let mut desk = on(two, Dialect::Json, "alice").await;
    let mut asked = Vec::new();
    for _ in 0..24 {
        // Far more in all than waits for one connection.
        asked.push(desk.start(json!({"history": {"of": group(), "limit": 1_000}})).await);
    }
    for id in asked {
        let answer = desk.answer(id).await;
        assert!(
            answer["history"]["more"] == true,
            "{}",
            answer.to_string().chars().take(200).collect::<String>()
        );
    }
}
