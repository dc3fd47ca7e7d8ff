//! Groups and their members, by the server API.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, time::Duration};

use herald_tests::{
    api::{Api, encoded},
    client::Client,
    cluster::Cluster,
    eventually,
    gateway::dev_gateway,
};
use serde_json::{Value, json};

const QUIET: Duration = Duration::from_secs(1);

async fn until(api: &Api, path: &str, expected: Value) {
    eventually(path, async || api.get(path).await == expected).await;
}

fn names(entries: &[Value], name: &str) -> Vec<String> {
    let name = |entry: &Value| entry[name].as_str().unwrap().to_owned();
    entries.iter().map(name).collect()
}

#[tokio::test]
async fn the_application_adds_and_removes_members_wherever_they_are() {
    let cluster = Cluster::start(2, 2).await;
    let [one, two] = [0, 1].map(|i| Api::dev(cluster.gateways[i].admin()));
    let mut bob = Client::dev(cluster.gateways[1].public(), "bob").await;
    assert_eq!(one.put("groups/team/members/bob").await, json!({}));
    assert_eq!(bob.next("group").await, json!({"group": "team", "joined": true}));
    // Reads follow writes, through whatever router.
    for api in [&one, &two] {
        for _ in 0..10 {
            assert_eq!(api.get("groups/team").await["members"], 1);
        }
    }
    one.put("groups/team/members/bob").await;
    let message = json!({"to": {"group": "team"}, "body": 1});
    one.post("messages", &message).await;
    assert_eq!(bob.next_message().await["body"], 1);
    assert!(bob.take_waiting().is_empty(), "added once");
    until(&two, "groups/team", json!({"group": "team", "members": 1, "online": 1})).await;

    two.delete("groups/team/members/bob").await;
    assert_eq!(bob.next("group").await, json!({"group": "team", "joined": false}));
    one.post("messages", &json!({"to": {"group": "team"}, "body": 2})).await;
    assert!(!bob.hears("message", QUIET).await);
    two.delete("groups/team/members/bob").await;
    assert_eq!(
        one.refused("GET", "groups/team", None).await,
        (404, "not_found".to_owned())
    );
    assert_eq!(one.refused("GET", "groups/team/members", None).await.0, 404);
}

#[tokio::test]
async fn a_thousand_members_are_changed_in_one_call_and_answered_one_by_one() {
    let gateway = dev_gateway().await;
    let api = Api::dev(gateway.admin());
    let mut users: Vec<String> = (0..998).map(|n| format!("u{n:03}")).collect();
    users.push(String::new());
    let changes = json!({"add": users, "remove": ["u000"]});
    let results = api.post("groups/g/members", &changes).await["results"].take();
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), 1000);
    assert_eq!(results[998]["error"]["code"], "bad_request", "{}", results[998]);
    assert_eq!(results[0], json!({"user": "u000"}));
    assert_eq!(
        results[999],
        json!({"user": "u000"}),
        "removed behind all that are added"
    );
    assert_eq!(api.get("groups/g").await["members"], 997);
    let members = names(&api.all("groups/g/members", "members", 100).await, "user");
    assert_eq!(members, users[1..998]);
    users.push("one-too-many".to_owned());
    users.push("two".to_owned());
    let refused = api
        .refused("POST", "groups/g/members", Some(&json!({"add": users})))
        .await;
    assert_eq!(refused.0, 400);
}

#[tokio::test]
async fn pages_give_every_group_and_every_member_once() {
    let gateway = dev_gateway().await;
    let api = Api::dev(gateway.admin());
    let groups = ["a/b", "a b", "小组", "g1", "g2", "zz"];
    let users = ["anna", "b/o b", "小明", "zoe"];
    for group in groups {
        for user in users {
            api.put(&format!("groups/{}/members/{}", encoded(group), encoded(user)))
                .await;
        }
    }
    let mut zoe = Client::dev(gateway.public(), "zoe").await;
    for limit in [1, 2, 3, 1000] {
        let mut expected = groups.map(str::to_owned).to_vec();
        expected.sort_unstable();
        let found = api.all("groups", "groups", limit).await;
        assert_eq!(names(&found, "group"), expected, "by {limit}");
        assert!(found.iter().all(|group| group["members"] == 4));
        let found = api.all("groups/a%2Fb/members", "members", limit).await;
        let mut expected = users.map(str::to_owned).to_vec();
        expected.sort_unstable();
        assert_eq!(names(&found, "user"), expected, "by {limit}");
        let online: HashMap<_, _> = found
            .iter()
            .map(|m| (m["user"].as_str().unwrap(), &m["online"]))
            .collect();
        assert_eq!((online["zoe"], online["anna"]), (&json!(true), &json!(false)));
    }
    let online = api.all("groups/a%2Fb/members?online=true", "members", 10).await;
    assert_eq!(names(&online, "user"), ["zoe"]);
    assert!(online[0]["since"].as_u64().unwrap() > 0);
    zoe.take_waiting();
}

#[tokio::test]
async fn a_deleted_group_ends_for_all_at_one_place_of_its_order() {
    let cluster = Cluster::start(2, 2).await;
    let api = Api::dev(cluster.gateways[0].admin());
    let mut members = Vec::new();
    for (i, user) in ["ann", "ben", "cleo"].into_iter().enumerate() {
        let mut client = Client::dev(cluster.gateways[i % 2].public(), user).await;
        client.join("team").await;
        assert_eq!(client.next("group").await["joined"], true);
        members.push(client);
    }
    let to = json!({"group": "team"});
    members[0].say(to.clone(), json!("before")).await;
    assert_eq!(api.delete("groups/team").await, json!({"members": 3}));
    // The application needs no membership: what it sends now comes to nobody.
    for body in ["after", "later"] {
        api.post("messages", &json!({"to": to, "body": body})).await;
    }
    for client in &mut members {
        assert_eq!(client.next_message().await["body"], "before");
        assert_eq!(client.next("group").await, json!({"group": "team", "joined": false}));
    }
    for client in &mut members {
        let refused = client.refused(json!({"send": {"to": to, "body": "mine"}})).await;
        assert_eq!(refused, "forbidden");
        assert!(!client.hears("message", QUIET).await);
    }
    assert_eq!(api.refused("GET", "groups/team", None).await.0, 404);
    assert_eq!(api.refused("DELETE", "groups/team", None).await.0, 404);
    for user in ["ann", "ben", "cleo"] {
        until(&api, &format!("users/{user}"), api.get(&format!("users/{user}")).await).await;
        assert_eq!(api.get(&format!("users/{user}")).await["groups"], json!([]));
    }
    // It can be made anew, and is another one.
    members[1].join("team").await;
    members[1].say(to.clone(), json!("anew")).await;
    assert_eq!(members[1].next_message().await["body"], "anew");
    assert!(!members[0].hears("message", QUIET).await);
}
