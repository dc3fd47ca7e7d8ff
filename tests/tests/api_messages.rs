//! Batches of messages by the server API. One message at a time: `admin.rs`.
#![allow(clippy::unwrap_used)]

use herald_tests::{api::Api, client::Client, cluster::Cluster, gateway::dev_gateway};
use serde_json::{Value, json};

fn results(answer: &Value) -> &[Value] {
    answer["results"].as_array().unwrap()
}

#[tokio::test]
async fn a_batch_keeps_the_order_of_each_target() {
    let cluster = Cluster::start(2, 2).await;
    let api = Api::dev(cluster.gateways[0].admin());
    let mut bob = Client::dev(cluster.gateways[1].public(), "bob").await;
    let mut eve = Client::dev(cluster.gateways[0].public(), "eve").await;
    let to = |n: usize| json!({"user": (["bob", "eve"][n % 2])});
    let messages: Vec<Value> = (0..1000).map(|n| json!({"to": to(n), "body": n})).collect();
    let answer = api.post("messages/batch", &json!({ "messages": messages })).await;
    assert_eq!(results(&answer).len(), 1000);
    for (client, first) in [(&mut bob, 0), (&mut eve, 1)] {
        let heard = client.messages(500).await;
        let bodies: Vec<usize> = heard.iter().map(|m| m["body"].as_u64().unwrap() as usize).collect();
        let expected: Vec<usize> = (first..1000).step_by(2).collect();
        assert_eq!(bodies, expected);
        for message in heard {
            let result = &results(&answer)[message["body"].as_u64().unwrap() as usize];
            assert_eq!((&result["id"], &result["offset"]), (&message["id"], &message["offset"]));
        }
    }
}

#[tokio::test]
async fn a_message_to_several_has_several_results() {
    let gateway = dev_gateway().await;
    let api = Api::dev(gateway.admin());
    let messages = json!([
        {"to": {"users": ["ann", "", "bob"]}, "body": 1},
        {"to": {"users": ["ann"]}, "body": 2},
        {"to": {"group": "g"}, "body": 3, "durable": false},
    ]);
    let answer = api.post("messages/batch", &json!({ "messages": messages })).await;
    let [several, one_of_several, group] = results(&answer) else {
        panic!("{answer}");
    };
    let of_several = results(several);
    assert_eq!(of_several.len(), 3);
    assert_eq!(of_several[1]["error"]["code"], "bad_request");
    assert!(
        of_several[0]["offset"].is_string() && of_several[2]["offset"].is_string(),
        "{several}"
    );
    assert_eq!(results(one_of_several).len(), 1);
    assert!(group["id"].is_string() && group.get("offset").is_none(), "{group}");
}

#[tokio::test]
async fn a_batch_that_is_repeated_is_sent_once() {
    let gateway = dev_gateway().await;
    let api = Api::dev(gateway.admin());
    let messages: Vec<Value> = (0..10)
        .map(|n| json!({"to": {"user": "bob"}, "body": n, "key": format!("k{n}")}))
        .collect();
    let batch = json!({ "messages": messages });
    let first = api.post("messages/batch", &batch).await;
    let again = api.post("messages/batch", &batch).await;
    for (first, again) in results(&first).iter().zip(results(&again)) {
        assert_eq!((&first["id"], &first["offset"]), (&again["id"], &again["offset"]));
        assert_eq!(
            (&first["duplicate"], &again["duplicate"]),
            (&json!(false), &json!(true))
        );
    }
    assert_eq!(
        api.get("history?user=bob").await["messages"].as_array().unwrap().len(),
        10
    );
}

#[tokio::test]
async fn a_batch_with_a_message_that_cannot_be_sends_nothing() {
    let gateway = dev_gateway().await;
    let api = Api::dev(gateway.admin());
    let good = json!({"to": {"user": "bob"}, "body": 1});
    for bad in [
        json!({"to": {"user": ""}, "body": 1}),
        json!({"to": {}, "body": 1}),
        json!({"to": {"user": "bob"}, "kind": "a\nb"}),
        json!([]),
    ] {
        let batch = json!({"messages": [good, bad]});
        let refused = api.refused("POST", "messages/batch", Some(&batch)).await;
        assert_eq!(refused, (400, "bad_request".to_owned()), "{bad}");
    }
    for count in [0, 1001] {
        let batch = json!({ "messages": vec![&good; count] });
        assert_eq!(
            api.refused("POST", "messages/batch", Some(&batch)).await.0,
            400,
            "{count}"
        );
    }
    let users: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let wide = json!({"to": {"users": users}});
    let batch = json!({"messages": vec![wide; 11]});
    assert_eq!(
        api.refused("POST", "messages/batch", Some(&batch)).await,
        (413, "too_large".to_owned())
    );
    assert_eq!(api.get("history?user=bob").await["messages"], json!([]));
}
