//! Logins that a service of the application decides, and a second one completes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use async_nats::{HeaderMap, Message};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::StreamExt;
use herald_tests::{
    cluster::dev_router,
    gateway::{FREE, file},
    http::{Response, request},
    nats::NatsServer,
    process::Node,
    short::{self, REQ_LOGIN, REQ_MY_DATA, RESP_LOGIN, RESP_MY_DATA, envelope, login_request, message, opened, token},
};
use serde_json::{Value, json};

struct World {
    client: async_nats::Client,
    gateway: Node,
    _router: Node,
    _nats: NatsServer,
}

/// A gateway that asks `auth`, and then `lobby`.
async fn world(config: &str) -> World {
    let nats = NatsServer::start().await;
    let router = dev_router(&nats.url()).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let file = file(&format!("[login]\nservice = 'auth'\n{config}\n"));
    let path = file.path().to_str().unwrap().to_owned();
    let arguments = [
        "--dev",
        "--nats",
        &nats.url(),
        "--listen",
        FREE,
        "--admin",
        FREE,
        "--config",
        &path,
    ];
    let mut gateway = Node::start("herald-gateway", arguments).await;
    gateway.listens("public").await;
    gateway.files.push(file);
    World {
        client,
        gateway,
        _router: router,
        _nats: nats,
    }
}

type Answer = (HeaderMap, Bytes);

impl World {
    async fn serve(&self, service: &str, act: impl Fn(&Message) -> Option<Answer> + Send + 'static) {
        let mut requests = self
            .client
            .subscribe(format!("herald-dev.svc.{service}"))
            .await
            .unwrap();
        // Once its own word has come back, the server knows of the subscription too.
        let inbox = self.client.new_inbox();
        let mut back = self.client.subscribe(inbox.clone()).await.unwrap();
        self.client.publish(inbox, Bytes::new()).await.unwrap();
        back.next().await.unwrap();
        let client = self.client.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                if let Some((headers, payload)) = act(&request) {
                    let reply = request.reply.unwrap();
                    client.publish_with_headers(reply, headers, payload).await.unwrap();
                }
            }
        });
    }

    async fn log_in(&self, bytes: &[u8]) -> Response {
        let body = envelope(REQ_LOGIN, bytes);
        request(self.gateway.public(), "POST", "/login", &[], &body).await
    }
}

fn answer(value: &Value) -> Option<Answer> {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", "application/json");
    Some((headers, value.to_string().into()))
}

fn error(code: &str, text: &str) -> Option<Answer> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Service-Error-Code", code);
    headers.insert("Nats-Service-Error", text);
    Some((headers, Bytes::new()))
}

fn told(request: &Message) -> BTreeMap<String, String> {
    let headers = request.headers.iter().flat_map(HeaderMap::iter);
    let pairs = headers.map(|(name, values)| (name.to_string().to_lowercase(), values[0].to_string()));
    pairs.collect()
}

fn err_code(response: &Response) -> Vec<u8> {
    assert_eq!(
        (response.status, response.header("set-cookie")),
        (200, None),
        "{response:?}"
    );
    opened(response).1
}

#[tokio::test]
async fn the_service_gets_the_bytes_untouched_and_says_who_it_is() {
    let world = world("").await;
    world
        .serve("auth", |request| {
            let told = told(request);
            let seen = json!([
                told.get("herald-client-ip"),
                told.get("herald-msg-id"),
                told.get("herald-user")
            ]);
            let as_expected = seen == json!(["127.0.0.1", REQ_LOGIN.to_string(), null]);
            // An unknown field stands behind the known ones.
            let untouched = request.payload == [&login_request("zbj", "pig")[..], b"\xa2\x06\x02ip"].concat();
            answer(
                &json!({"user": "1001", "account": "zbj", "err_code": if as_expected && untouched { 0 } else { 99 }}),
            )
        })
        .await;
    let response = world
        .log_in(&[&login_request("zbj", "pig")[..], b"\xa2\x06\x02ip"].concat())
        .await;
    let (msg_id, reply) = opened(&response);
    assert_eq!(
        (msg_id, &reply[..8]),
        (u64::from(RESP_LOGIN), &b"\x10\xe9\x07\x1a\x03zbj"[..])
    );
    assert!(response.header("set-cookie").is_some());
}

#[tokio::test]
async fn the_service_refuses_with_a_code_or_with_bytes_of_its_own() {
    let world = world("").await;
    world
        .serve("auth", |request| match request.payload.get(2..5)? {
            b"zbj" => answer(&json!({"err_code": 5})),
            b"swk" => answer(&json!({"err_code": 5, "bytes": STANDARD.encode(b"\x08\x07")})),
            b"tsz" => answer(&json!({"user": "tsz", "bytes": STANDARD.encode(b"\x10\x2a")})),
            b"bad" => answer(&json!({"account": "without a user"})),
            _ => Some((HeaderMap::new(), "no JSON".into())),
        })
        .await;
    assert_eq!(err_code(&world.log_in(&login_request("zbj", "")).await), b"\x08\x05");
    assert_eq!(err_code(&world.log_in(&login_request("swk", "")).await), b"\x08\x07");
    let own = world.log_in(&login_request("tsz", "")).await;
    assert_eq!(opened(&own).1, b"\x10\x2a", "the whole reply");
    for broken in ["bad", "xxx"] {
        let response = world.log_in(&login_request(broken, "")).await;
        assert_eq!(
            (response.status, response.header("set-cookie")),
            (502, None),
            "{response:?}"
        );
    }
}

#[tokio::test]
async fn the_second_service_completes_the_reply_or_refuses() {
    let world = world("then = 'lobby'").await;
    world
        .serve("auth", |request| {
            let name = String::from_utf8_lossy(&request.payload[2..5]).into_owned();
            answer(&json!({"user": name}))
        })
        .await;
    world
        .serve("lobby", |request| {
            let told = told(request);
            assert_eq!(told["herald-session"].len(), 32);
            match told["herald-user"].as_str() {
                "zbj" => Some((HeaderMap::new(), Bytes::from_static(b"\x0a\x03pig"))),
                "swk" => answer(
                    &json!({"user_brief": STANDARD.encode(b"\x0a\x03ape"), "bytes": STANDARD.encode(b"\x30\x01")}),
                ),
                "tsz" => answer(&json!({"err_code": 12})),
                // Without a word on what it is.
                "hhe" => Some((HeaderMap::new(), json!({"err_code": 13}).to_string().into())),
                _ => error("409", "the server is full"),
            }
        })
        .await;
    let reply = async |name: &str| opened(&world.log_in(&login_request(name, "")).await).1;
    let zbj = reply("zbj").await;
    assert!(
        zbj.starts_with(b"\x1a\x03zbj") && zbj.ends_with(b"\x22\x05\x0a\x03pig"),
        "{zbj:?}"
    );
    assert!(reply("swk").await.ends_with(b"\x22\x05\x0a\x03ape\x30\x01"));
    assert_eq!(err_code(&world.log_in(&login_request("tsz", "")).await), b"\x08\x0c");
    assert_eq!(err_code(&world.log_in(&login_request("hhe", "")).await), b"\x08\x0d");
    assert_eq!(
        err_code(&world.log_in(&login_request("bhl", "")).await),
        b"\x08\x99\x03",
        "409"
    );
}

#[tokio::test]
async fn a_service_that_is_not_there_silent_or_broken_has_a_status() {
    let world = world("[services.auth]\ntimeout = '500ms'\n[services.game]\ntimeout = '500ms'\n[[routes]]\nid = 5\nservice = 'game'\nreply = 'cmsg.SRespMyData'").await;
    let address = world.gateway.public();
    assert_eq!(world.log_in(b"").await.status, 503, "nobody serves it");
    world
        .serve("auth", |request| match request.payload.get(2..5) {
            Some(b"zbj") => answer(&json!({"user": "zbj"})),
            Some(b"bad") => error("500", "a secret of the service"),
            Some(b"not") => error("403", "closed for today"),
            _ => None,
        })
        .await;
    assert_eq!(world.log_in(&login_request("silent", "")).await.status, 504);
    let broken = world.log_in(&login_request("bad", "")).await;
    assert_eq!(broken.status, 502);
    assert!(!broken.body.contains("secret"), "{broken:?}");
    let closed = world.log_in(&login_request("not", "")).await;
    assert_eq!((closed.status, closed.body.as_str()), (403, "closed for today"));
    let token = token(&world.log_in(&login_request("zbj", "")).await);
    let send = async |bytes: &'static [u8]| message(address, &token, 5, bytes).await;
    assert_eq!(send(b"x").await.status, 503);
    world
        .serve("game", |request| match &request.payload[..] {
            b"silent" => None,
            b"fails" => error("500", "a secret of the service"),
            b"refuses" => error("422", "not now"),
            b"numbered" => {
                let mut headers = HeaderMap::new();
                headers.insert("Herald-Msg-Id", "77");
                Some((headers, Bytes::new()))
            }
            _ => Some((HeaderMap::new(), told(request)["herald-user"].clone().into())),
        })
        .await;
    let fine = send(b"fine").await;
    assert_eq!(opened(&fine), (u64::from(RESP_MY_DATA), b"zbj".to_vec()));
    assert_eq!(opened(&send(b"numbered").await).0, 77);
    assert_eq!(send(b"silent").await.status, 504);
    assert_eq!(send(b"fails").await.status, 502);
    let refused = send(b"refuses").await;
    assert_eq!((refused.status, refused.body.as_str()), (422, "not now"));
    assert_eq!(
        message(address, &token, REQ_MY_DATA, b"").await.status,
        200,
        "others are not disturbed"
    );
    drop(short::refresh(address, &token).await);
}
