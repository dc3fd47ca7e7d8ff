//! What is stored, read and deleted by the server API.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use herald_tests::{
    api::Api,
    client::{Client, Dialect},
    cluster::Cluster,
    eventually,
    follower::Follower,
    gateway::dev_gateway,
    process::Node,
    token,
};
use serde_json::{Value, json};

const QUIET: Duration = Duration::from_secs(1);

/// Each promise for a gateway that stands alone, and for two of a cluster.
macro_rules! everywhere {
    ($($promise:ident)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $promise() {
                let gateway = crate::dev_gateway().await;
                crate::$promise([&gateway, &gateway]).await;
            })*
        }
        mod cluster {
            $(#[tokio::test]
            async fn $promise() {
                let cluster = crate::Cluster::start(2, 2).await;
                crate::$promise([&cluster.gateways[0], &cluster.gateways[1]]).await;
            })*
        }
    };
}

everywhere! {
    the_application_reads_any_target
    what_was_deleted_is_gone_and_nothing_else
    who_had_not_received_what_was_deleted_is_told_of_a_gap
    who_deletes_again_takes_back_nothing_that_was_told
    a_deletion_disturbs_nobody_who_is_connected
    polls_are_told_of_a_gap_too
}

fn bodies(history: &Value) -> Vec<Value> {
    let messages = history["messages"].as_array().unwrap().iter();
    messages.map(|message| message["body"].clone()).collect()
}

async fn send(api: &Api, to: &Value, body: Value) -> Value {
    let sent = api.post("messages", &json!({"to": to, "body": body})).await;
    sent["results"][0].clone()
}

/// Some milliseconds after it was deleted a replica may still show it.
async fn until_empty(api: &Api, path: &str) {
    eventually("it is gone", async || bodies(&api.get(path).await).is_empty()).await;
}

pub async fn the_application_reads_any_target([one, two]: [&Node; 2]) {
    let (api, other) = (Api::dev(one.admin()), Api::dev(two.admin()));
    for (to, query) in [
        (json!({"user": "b/ob"}), "user=b%2Fob"),
        (json!({"group": "g"}), "group=g"),
        (json!({"all": true}), "all=true"),
    ] {
        let mut offsets = Vec::new();
        for n in 0..5 {
            offsets.push(
                send(&api, &to, json!({ "n": n })).await["offset"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
        let path = format!("history?{query}");
        eventually("all five", async || bodies(&other.get(&path).await).len() == 5).await;
        let page = other.get(&format!("{path}&after={}&limit=2", offsets[0])).await;
        assert_eq!(bodies(&page), [json!({"n": 1}), json!({"n": 2})]);
        assert_eq!((&page["more"], &page["gap"]), (&json!(true), &json!(false)));
        assert_eq!(
            (&page["messages"][0]["to"], &page["messages"][0]["offset"]),
            (&to, &json!(offsets[1]))
        );
        let page = other.get(&format!("{path}&before={}&limit=1000", offsets[2])).await;
        assert_eq!(bodies(&page), [json!({"n": 0}), json!({"n": 1})]);
    }
    for query in [
        "",
        "?all=false",
        "?user=a&group=b",
        "?user=a&limit=0",
        "?user=a&limit=1001",
        "?user=a&after=x",
        "?user=",
    ] {
        let refused = api.refused("GET", &format!("history{query}"), None).await;
        assert_eq!(refused, (400, "bad_request".to_owned()), "{query}");
    }
}

pub async fn what_was_deleted_is_gone_and_nothing_else([one, two]: [&Node; 2]) {
    let (api, other) = (Api::dev(one.admin()), Api::dev(two.admin()));
    let [bob, eve] = ["bob", "eve"].map(|user| json!({ "user": user }));
    let mut last = Value::Null;
    for n in 0..5 {
        send(&api, &eve, json!(n)).await;
        last = send(&api, &bob, json!(n)).await;
    }
    let before = last["offset"].as_str().unwrap();
    let gone = api.delete(&format!("history?user=bob&before={before}")).await;
    assert_eq!(gone, json!({"deleted": 4}));
    eventually("the last stays", async || {
        bodies(&other.get("history?user=bob").await) == [json!(4)]
    })
    .await;
    assert!(api.delete("history?user=bob").await["deleted"].as_u64().unwrap() >= 1);
    until_empty(&other, "history?user=bob").await;
    send(&api, &bob, json!("new")).await;
    eventually("what comes is stored as before", async || {
        bodies(&other.get("history?user=bob").await) == [json!("new")]
    })
    .await;
    assert_eq!(bodies(&other.get("history?user=eve").await).len(), 5);
    let gap = other.get(&format!("history?user=bob&after={before}")).await;
    assert_eq!(gap["gap"], false, "{gap}");
    let sequence: u64 = before.rsplit(':').next().unwrap().parse().unwrap();
    let earlier = before.replace(&format!(":{sequence}"), ":1");
    let gap = other.get(&format!("history?user=bob&after={earlier}")).await;
    assert_eq!(gap["gap"], true, "{gap}");

    assert_eq!(api.delete("history?group=never").await, json!({"deleted": 0}));
    for query in ["user=bob&after=1.0:1", "user=bob&limit=1", "", "user=bob&all=true"] {
        assert_eq!(
            api.refused("DELETE", &format!("history?{query}"), None).await.0,
            400,
            "{query}"
        );
    }
}

/// Two users at one place, one of whom then has what comes.
pub async fn who_had_not_received_what_was_deleted_is_told_of_a_gap([one, two]: [&Node; 2]) {
    let api = Api::dev(one.admin());
    let [mut away, mut there] = ["away", "there"].map(|user| {
        let token = token::dev_with(user, &json!({"groups": ["g"]}));
        Follower::new(user, Dialect::Json, token)
    });
    for (i, follower) in [&mut away, &mut there].into_iter().enumerate() {
        follower.resume([one, two][i].public()).await;
    }
    away.cut();
    let group = json!({"group": "g"});
    send(&api, &group, json!("missed")).await;
    there.until_heard(&json!("missed")).await;
    there.until_cursor().await;
    assert!(api.delete("history?group=g").await["deleted"].as_u64().unwrap() > 0);
    there.cut();
    send(&api, &group, json!("next")).await;
    for (follower, gap) in [(&mut away, true), (&mut there, false)] {
        follower.resume(two.public()).await;
        assert_eq!(follower.connected["resumed"], true);
        assert_eq!(follower.connected["gap"], gap, "{}", follower.connected);
        follower.until_heard(&json!("next")).await;
    }
}

/// The second deletion deletes the order of the first.
pub async fn who_deletes_again_takes_back_nothing_that_was_told([one, two]: [&Node; 2]) {
    let api = Api::dev(one.admin());
    let mut away = Follower::dev(two.public(), "away", &[]).await;
    away.cut();
    let place = send(&api, &json!({"user": "away"}), json!("missed")).await;
    for _ in 0..3 {
        api.delete("history?user=away").await;
    }
    away.resume(two.public()).await;
    assert_eq!(away.connected["gap"], true, "{}", away.connected);
    let offset = place["offset"].as_str().unwrap();
    let sequence: u64 = offset.rsplit(':').next().unwrap().parse().unwrap();
    let before = offset.replace(&format!(":{sequence}"), &format!(":{}", sequence - 1));
    let told = api.get(&format!("history?user=away&after={before}")).await;
    assert_eq!(told["gap"], true, "{told}");
}

pub async fn a_deletion_disturbs_nobody_who_is_connected([one, two]: [&Node; 2]) {
    let api = Api::dev(one.admin());
    let mut bob = Client::dev(two.public(), "bob").await;
    let to = json!({"user": "bob"});
    for n in 0..20 {
        send(&api, &to, json!(n)).await;
        assert_eq!(bob.next_message().await["body"], n);
        if n % 5 == 0 {
            api.delete("history?user=bob").await;
        }
    }
    // Longer than between two sweeps, each of which looks for what was missed.
    assert!(!bob.hears("message", 7 * QUIET).await);
    send(&api, &to, json!("end")).await;
    assert_eq!(bob.next_message().await["body"], "end");
}

pub async fn polls_are_told_of_a_gap_too([one, two]: [&Node; 2]) {
    let api = Api::dev(one.admin());
    let bearer = format!("Bearer {}", token::dev("bob"));
    let poll = async |node: &Node, question: Value| {
        let headers = [("Authorization", bearer.as_str())];
        let body = question.to_string();
        let polled = herald_tests::http::request(node.public(), "POST", "/poll", &headers, body.as_bytes()).await;
        assert_eq!(polled.status, 200, "{polled:?}");
        polled.json()
    };
    let begun = poll(one, json!({"wait": 0})).await;
    send(&api, &json!({"user": "bob"}), json!("missed")).await;
    api.delete("history?user=bob").await;
    let mut polled = poll(two, json!({"wait": 0, "cursor": begun["cursor"]})).await;
    assert_eq!((&polled["gap"], &polled["messages"]), (&json!(true), &json!([])));
    send(&api, &json!({"user": "bob"}), json!("next")).await;
    // The gap was told; what follows is whole.
    polled = poll(one, json!({"wait": 10, "cursor": polled["cursor"]})).await;
    assert_eq!(polled["messages"][0]["body"], "next", "{polled}");
    assert_eq!(polled["gap"], false, "{polled}");
}
