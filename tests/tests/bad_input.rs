//! Bad input never kills: each gets its named error or close code, and everybody else goes on.
#![allow(clippy::unwrap_used)]

use herald_tests::{
    client::{Client, Dialect, Event},
    gateway::{Config, SECRET, dev_gateway},
    http::{self, exchange, request},
    process::Node,
    raw::{CLOSE, CONTINUATION, FIN, PING, PONG, Raw, TEXT, header, masked},
    token,
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A gateway, and a connection that must not notice anything.
struct Bystander {
    gateway: Node,
    client: Client,
}

impl Bystander {
    async fn new() -> Self {
        let gateway = dev_gateway().await;
        let client = Client::dev(gateway.public(), "bystander").await;
        Self { gateway, client }
    }

    fn path(&self) -> String {
        format!("/ws?token={}", token::dev("mallory"))
    }

    async fn raw(&self) -> Raw {
        let mut raw = Raw::open(self.gateway.public(), &self.path(), &[]).await;
        raw.json().await;
        raw
    }

    /// What is broken closes with `code`.
    async fn closes(&self, code: u16, what: &str, bytes: &[u8]) {
        let mut raw = self.raw().await;
        raw.bytes(bytes).await;
        assert_eq!(raw.closed().await, code, "{what}");
    }

    async fn goes_on(mut self) {
        self.client.say(json!({"user": "bystander"}), json!("still here")).await;
        assert_eq!(self.client.next_message().await["body"], "still here");
        assert!(self.gateway.running());
        assert!(!self.gateway.log().contains("panicked"), "{}", self.gateway.log());
    }
}

#[tokio::test]
async fn what_is_no_command_is_a_bad_request_and_the_connection_stays() {
    let world = Bystander::new().await;
    let mut mallory = Client::dev(world.gateway.public(), "mallory").await;
    for text in [
        "",
        " ",
        "nonsense",
        "{",
        "}",
        "{\"id\":1",
        "[]",
        "1",
        "\"ping\"",
        "null",
        "true",
        "{}",
        "{\"id\":1}",
        "{\"ping\":{}}trailing",
        "{\"ping\":{}}{\"ping\":{}}",
        "{'ping':{}}",
        "{\"id\":NaN,\"ping\":{}}",
        "\u{feff}{\"ping\":{}}",
        "{\"fly\":{}}",
        "{\"id\":1,\"Ping\":{}}",
        "{\"id\":1,\"connected\":{}}",
        "{\"ping\":1}",
        "{\"ping\":[]}",
        "{\"join\":\"g1\"}",
        "{\"join\":[\"g1\"]}",
        "{\"send\":[{\"user\":\"bob\"},1]}",
        "{\"join\":{}}",
        "{\"join\":{\"group\":5}}",
        "{\"join\":{\"group\":null}}",
        "{\"leave\":[]}",
        "{\"send\":{}}",
        "{\"send\":[]}",
        "{\"send\":{\"to\":\"bob\",\"body\":1}}",
        "{\"send\":{\"to\":{},\"body\":1}}",
        "{\"send\":{\"to\":{\"user\":5},\"body\":1}}",
        "{\"send\":{\"to\":{\"user\":\"a\",\"group\":\"b\"},\"body\":1}}",
        "{\"send\":{\"to\":{\"all\":false},\"body\":1}}",
        "{\"send\":{\"to\":{\"all\":\"yes\"},\"body\":1}}",
        "{\"send\":{\"to\":{\"user\":\"b\"},\"body\":1,\"durable\":\"no\"}}",
        "{\"send\":{\"to\":{\"user\":\"b\"},\"body\":1,\"ttl\":-1}}",
        "{\"send\":{\"to\":{\"user\":\"b\"},\"body\":1,\"ttl\":1e99}}",
        "{\"send\":{\"to\":{\"user\":\"b\"},\"body\":1,\"key\":[]}}",
        "{\"send\":{\"to\":{\"user\":\"\\ud800\"},\"body\":1}}",
        "{\"refresh\":{}}",
        "{\"refresh\":{\"token\":7}}",
    ] {
        mallory.raw(Message::text(text)).await;
        // A good command after each, so that they are never ten in a row.
        let ping = mallory.start(json!({"ping": {}})).await;
        let frame = mallory.frame().await;
        assert_eq!(frame["error"]["code"], "bad_request", "{text:?}: {frame}");
        assert_eq!(frame["error"]["retry"], false, "{text:?}: {frame}");
        assert!(mallory.answer(ping).await.get("pong").is_some());
    }
    world.goes_on().await;
}

#[tokio::test]
async fn an_error_carries_the_id_of_a_command_that_has_one() {
    let world = Bystander::new().await;
    let mut mallory = Client::dev(world.gateway.public(), "mallory").await;
    for text in [
        r#"{"id":7,"fly":{}}"#,
        r#"{"id":7,"ping":{},"join":{"group":"g"}}"#,
        r#"{"id":7,"join":{"group":5}}"#,
    ] {
        mallory.raw(Message::text(text)).await;
        let frame = mallory.frame().await;
        assert_eq!(frame["id"], 7, "{text}: {frame}");
        assert_eq!(frame["error"]["code"], "bad_request");
    }
    world.goes_on().await;
}

#[tokio::test]
async fn broken_protobuf_is_a_bad_request_and_the_connection_stays() {
    let world = Bystander::new().await;
    let token = token::dev("mallory");
    let mut mallory = Client::with_token(world.gateway.public(), Dialect::Proto, &token).await;
    let broken: [&[u8]; 7] = [
        b"",                             // no verb
        &[0x08, 0x01],                   // an id and no verb
        &[0xff; 40],                     // an endless varint
        &[0x1a, 0x7f, 0x00],             // a send that is shorter than it says
        &[0x1a, 0xff, 0xff, 0xff, 0xff], // a length of 4 GiB
        &[0x22, 0x03, 0x0a, 0x01, 0xff], // a group that is no UTF-8
        &[0x62, 0x00, 0x22, 0x00],       // a ping and a join
    ];
    for bytes in broken {
        mallory.raw(Message::binary(bytes.to_vec())).await;
        let frame = mallory.frame().await;
        assert_eq!(frame["error"]["code"], "bad_request", "{bytes:?}: {frame}");
        mallory.ask(json!({"ping": {}}), "pong").await;
    }
    world.goes_on().await;
}

#[tokio::test]
async fn a_frame_of_the_other_dialects_kind_is_a_bad_request() {
    let world = Bystander::new().await;
    let token = token::dev("mallory");
    let mut json = Client::with_token(world.gateway.public(), Dialect::Json, &token).await;
    json.raw(Message::binary(b"{\"id\":1,\"ping\":{}}".to_vec())).await;
    assert_eq!(json.next("error").await["code"], "bad_request");
    let mut proto = Client::with_token(world.gateway.public(), Dialect::Proto, &token).await;
    proto.raw(Message::text("{\"id\":1,\"ping\":{}}")).await;
    assert_eq!(proto.next("error").await["code"], "bad_request");
    proto.ask(json!({"ping": {}}), "pong").await;
    world.goes_on().await;
}

#[tokio::test]
async fn a_body_that_only_claims_to_be_json_breaks_no_receiver() {
    let world = Bystander::new().await;
    let token = token::dev("mallory");
    let mut mallory = Client::with_token(world.gateway.public(), Dialect::Proto, &token).await;
    let mut bob = Client::dev(world.gateway.public(), "bob").await;
    // {"a":1 / "x"},"message":{ / ff fe
    for body in ["eyJhIjox", "IngifSwibWVzc2FnZSI6ew==", "//4="] {
        let send = json!({"to": {"user": "bob"}, "body_base64": body, "content_type": ""});
        let code = mallory.refused(json!({"send": send})).await;
        assert_eq!(code, "bad_request", "{body}");
    }
    // An empty body may be refused or stand for null; what bob gets is JSON in any case, or his client fails.
    let send = json!({"to": {"user": "bob"}, "body_base64": "", "content_type": ""});
    let answer = mallory.command(json!({"send": send})).await;
    mallory.say(json!({"user": "bob"}), json!("fine")).await;
    let mut message = bob.next_message().await;
    if answer.get("sent").is_some() {
        assert_eq!(message.get("body"), Some(&Value::Null), "{message}");
        message = bob.next_message().await;
    }
    assert_eq!(message["body"], "fine");
    world.goes_on().await;
}

#[tokio::test]
async fn deep_nesting_is_a_bad_request() {
    let config = Config {
        limits: "frame = \"1MiB\"\noutbox = \"4MiB\"\nbytes_per_second = \"100MiB\"\nbytes_burst = \"100MiB\"".into(),
        ..Config::default()
    };
    let mut gateway = config.start().await;
    let token = token::hs256(SECRET, &token::claims("mallory"));
    let mut mallory = Client::with_token(gateway.public(), Dialect::Json, &token).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nest = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for text in [
            nest.clone(),
            open.repeat(100_000),
            format!("{{\"send\":{{\"to\":{{\"user\":\"bob\"}},\"body\":{nest}}}}}"),
            format!("{{\"send\":{{\"to\":{nest},\"body\":1}}}}"),
            format!("{{\"send\":{nest}}}"),
        ] {
            mallory.raw(Message::text(text)).await;
            assert_eq!(mallory.next("error").await["code"], "bad_request");
            mallory.ask(json!({"ping": {}}), "pong").await;
        }
        // In a field that nobody knows it is ignored or refused.
        mallory
            .raw(Message::text(format!(
                "{{\"id\":4000000000,\"ping\":{{}},\"x\":{nest}}}"
            )))
            .await;
        let frame = mallory.frame().await;
        assert!(
            frame.get("pong").is_some() || frame["error"]["code"] == "bad_request",
            "{frame}"
        );
    }
    mallory.ask(json!({"ping": {}}), "pong").await;
    assert!(gateway.running());
}

#[tokio::test]
async fn deep_nesting_in_a_protobuf_body_is_a_bad_request() {
    let config = Config {
        limits: "frame = \"1MiB\"\noutbox = \"4MiB\"".into(),
        ..Config::default()
    };
    let mut gateway = config.start().await;
    let token = token::hs256(SECRET, &token::claims("mallory"));
    let mut mallory = Client::with_token(gateway.public(), Dialect::Proto, &token).await;
    use base64::{Engine, engine::general_purpose::STANDARD};
    let nest = STANDARD.encode(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    let send = json!({"to": {"user": "mallory"}, "body_base64": nest, "content_type": "application/json"});
    assert_eq!(mallory.refused(json!({"send": send})).await, "bad_request");
    assert!(gateway.running());
}

#[tokio::test]
async fn ids_of_users_and_groups_are_checked() {
    let world = Bystander::new().await;
    let mut mallory = Client::dev(world.gateway.public(), "mallory").await;
    let long = "x".repeat(129);
    let long_in_bytes = "é".repeat(65);
    for id in ["", &long, &long_in_bytes, "a\0b", "a\nb", "\u{7f}", "\u{85}"] {
        for command in [
            json!({"send": {"to": {"user": id}, "body": 1}}),
            json!({"send": {"to": {"group": id}, "body": 1}}),
            json!({"join": {"group": id}}),
            json!({"leave": {"group": id}}),
        ] {
            assert_eq!(mallory.refused(command.clone()).await, "bad_request", "{command}");
        }
    }
    for id in ["x".repeat(128), "é".repeat(64)] {
        mallory.say(json!({"user": id}), json!(1)).await;
        mallory.join(&id).await;
        mallory.say(json!({"group": id}), json!(1)).await;
    }
    world.goes_on().await;
}

#[tokio::test]
async fn huge_labels_meet_a_named_error() {
    let world = Bystander::new().await;
    let mut mallory = Client::dev(world.gateway.public(), "mallory").await;
    let huge = "k".repeat(60_000);
    for name in ["key", "kind"] {
        let mut send = json!({"to": {"user": "bob"}, "body": 1});
        send[name] = json!(huge);
        let code = mallory.refused(json!({"send": send})).await;
        assert!(["bad_request", "too_large"].contains(&code.as_str()), "{name}: {code}");
    }
    for odd in ["", "a.b *>", "小明", "x\ny"] {
        let send = json!({"to": {"user": "bob"}, "body": 1, "key": odd});
        let answer = mallory.command(json!({"send": send})).await;
        let fine = answer.get("sent").is_some() || answer["error"]["code"] == "bad_request";
        assert!(fine, "{odd:?}: {answer}");
    }
    world.goes_on().await;
}

#[tokio::test]
async fn a_frame_beyond_the_limit_closes_with_1009() {
    let world = Bystander::new().await;
    // The announcement is enough: nobody waits for ten megabytes to refuse them.
    let announced = [header(FIN | TEXT, 0x80, 10 << 20), vec![0; 1000]].concat();
    world.closes(1009, "10 MB announced", &announced).await;
    let endless = [header(FIN | TEXT, 0x80, u64::MAX >> 1), vec![0; 4]].concat();
    world.closes(1009, "8 EB announced", &endless).await;
    world
        .closes(1009, "just beyond", &masked(FIN | TEXT, &[b' '; (64 << 10) + 1]))
        .await;
    let part = masked(TEXT, &[b' '; 40 << 10]);
    let rest = masked(FIN | CONTINUATION, &[b' '; 40 << 10]);
    world.closes(1009, "in two fragments", &[part, rest].concat()).await;

    let mut fits = Client::dev(world.gateway.public(), "mallory").await;
    let command = json!({"id": 1, "ping": {}}).to_string();
    let padded = format!("{command}{}", " ".repeat((64 << 10) - command.len()));
    fits.raw(Message::text(padded)).await;
    fits.next("pong").await;
    world.goes_on().await;
}

#[tokio::test]
async fn ten_megabytes_in_one_frame_close_with_1009() {
    let world = Bystander::new().await;
    let raw = world.raw().await;
    let (mut reader, mut writer) = raw.stream.into_split();
    let writing = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        // The server need not take it all.
        let _ = writer.write_all(&masked(FIN | TEXT, &vec![b'x'; 10 << 20])).await;
    });
    let mut answer = Vec::new();
    use tokio::io::AsyncReadExt;
    // It may end in a reset, since the server has not read all; the close frame comes before.
    let _ = reader.read_to_end(&mut answer).await;
    writing.await.expect("the writer ends");
    assert_eq!(answer.get(..1), Some([FIN | CLOSE].as_slice()));
    assert_eq!(answer.get(2..4), Some(1009_u16.to_be_bytes().as_slice()));
    world.goes_on().await;
}

#[tokio::test]
async fn text_that_is_no_utf8_closes_with_1007() {
    let world = Bystander::new().await;
    for broken in [
        b"\xff".as_slice(),
        b"{\"ping\":\"\xc3\x28\"}",
        b"\xed\xa0\x80",
        b"\xf0\x9d\x84",
        b"\xc0\x80",
    ] {
        world
            .closes(1007, &format!("{broken:?}"), &masked(FIN | TEXT, broken))
            .await;
    }
    let fragments = [masked(TEXT, b"\"\xf0\x9d"), masked(FIN | CONTINUATION, b"xx\"")].concat();
    world.closes(1007, "over two fragments", &fragments).await;
    world.goes_on().await;
}

#[tokio::test]
async fn fragments_and_frames_between_them_make_one_message() {
    let world = Bystander::new().await;
    let mut raw = world.raw().await;
    let command = r#"{"id":5,"send":{"to":{"user":"mallory"},"body":"𝄞"}}"#.as_bytes();
    // Cut within the four bytes of the clef, with a ping between, and empty fragments.
    let cut = command.len() - 6;
    raw.frame(TEXT, &command[..cut]).await;
    raw.frame(FIN | PING, b"between").await;
    raw.frame(CONTINUATION, b"").await;
    raw.frame(FIN | CONTINUATION, &command[cut..]).await;
    let pong = raw.read().await.expect("a pong");
    assert_eq!(
        (pong.first, pong.payload.as_slice()),
        (FIN | PONG, b"between".as_slice())
    );
    let (mut sent, mut message) = (Value::Null, Value::Null);
    while sent.is_null() || message.is_null() {
        let mut frame = raw.json().await;
        match frame["id"].as_u64() {
            Some(5) => sent = frame["sent"].take(),
            _ => message = frame["message"].take(),
        }
    }
    assert_eq!(message["body"], "𝄞");
    assert_eq!(message["id"], sent["id"]);
    world.goes_on().await;
}

#[tokio::test]
async fn what_breaks_the_websocket_protocol_closes_with_1002() {
    let world = Bystander::new().await;
    let unmasked = |first, payload: &[u8]| [header(first, 0, payload.len() as u64), payload.to_vec()].concat();
    let ping = br#"{"id":1,"ping":{}}"#;
    for (what, bytes) in [
        ("an unmasked frame", unmasked(FIN | TEXT, ping)),
        ("an unmasked ping", unmasked(FIN | PING, b"")),
        ("reserved bit 1", masked(FIN | TEXT | 0x40, ping)),
        ("reserved bit 2", masked(FIN | TEXT | 0x20, ping)),
        ("reserved bit 3", masked(FIN | TEXT | 0x10, ping)),
        ("opcode 3", masked(FIN | 0x3, ping)),
        ("opcode 11", masked(FIN | 0xB, b"")),
        ("a ping in fragments", masked(PING, b"")),
        ("a ping of 126 bytes", masked(FIN | PING, &[0; 126])),
        ("a continuation of nothing", masked(FIN | CONTINUATION, ping)),
        (
            "a new message within another",
            [masked(TEXT, b"{"), masked(FIN | TEXT, b"}")].concat(),
        ),
        ("a close of one byte", masked(FIN | CLOSE, b"x")),
        ("close code 999", masked(FIN | CLOSE, &999_u16.to_be_bytes())),
        ("close code 1005", masked(FIN | CLOSE, &1005_u16.to_be_bytes())),
    ] {
        world.closes(1002, what, &bytes).await;
    }
    world.goes_on().await;
}

#[tokio::test]
async fn a_connection_may_break_off_anywhere() {
    let world = Bystander::new().await;
    let whole = masked(FIN | TEXT, br#"{"id":1,"send":{"to":{"user":"bystander"},"body":1}}"#);
    for length in 0..whole.len() {
        let mut raw = world.raw().await;
        raw.bytes(&whole[..length]).await;
    }
    let upgrade = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n",
        world.path(),
        world.gateway.public()
    );
    for length in [1, 10, upgrade.len()] {
        use tokio::io::AsyncWriteExt;
        let mut stream = tokio::net::TcpStream::connect(world.gateway.public()).await.unwrap();
        stream.write_all(&upgrade.as_bytes()[..length]).await.unwrap();
    }
    world.goes_on().await;
}

#[tokio::test]
async fn bad_http_is_answered_or_closed() {
    let world = Bystander::new().await;
    let (public, admin) = (world.gateway.public(), world.gateway.admin());
    for address in [public, admin] {
        for bytes in [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello, TLS\r\n\r\n".as_slice(),
            b"nonsense\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let status = exchange(address, bytes).await.status;
            assert!(status == 0 || (400..506).contains(&status), "{status} for {bytes:?}");
        }
        let huge = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
            "x".repeat(2 << 20)
        );
        let status = exchange(address, huge.as_bytes()).await.status;
        assert!([0, 400, 431].contains(&status), "{status}");
        assert_eq!(http::get(address, "/no/such/path").await.status, 404);
    }
    world.goes_on().await;
}

#[tokio::test]
async fn what_is_no_websocket_upgrade_gets_a_client_error() {
    let world = Bystander::new().await;
    let public = world.gateway.public();
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")];
    let version = ("Sec-WebSocket-Version", "13");
    let get = async |headers: &[(&str, &str)]| request(public, "GET", "/ws", headers, b"").await.status;
    assert!((400..=426).contains(&get(&[]).await), "a plain GET");
    assert!(
        (400..=426).contains(&get(&[upgrade[0], upgrade[1], key]).await),
        "no version"
    );
    assert!(
        (400..=426).contains(&get(&[upgrade[0], upgrade[1], version]).await),
        "no key"
    );
    let old = ("Sec-WebSocket-Version", "8");
    assert!(
        (400..=426).contains(&get(&[upgrade[0], upgrade[1], key, old]).await),
        "an old version"
    );
    let post = request(public, "POST", "/ws", &[], b"").await.status;
    assert!([400, 404, 405].contains(&post), "POST: {post}");
    world.goes_on().await;
}

#[tokio::test]
async fn a_header_that_never_ends_is_not_waited_for() {
    let world = Bystander::new().await;
    // 10 s by the protocol: `exchange` fails the test where the server waits much longer.
    let half = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    let status = exchange(world.gateway.public(), half).await.status;
    assert!([0, 400, 408].contains(&status), "{status}");
    world.goes_on().await;
}

#[tokio::test]
async fn random_frames_never_kill() {
    let world = Bystander::new().await;
    // A fixed seed: a failure comes again.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..150 {
        let mut raw = world.raw().await;
        let length = usize::try_from(random() % 200).unwrap();
        let bytes: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[3]).collect();
        raw.bytes(&bytes).await;
    }
    let token = token::dev("mallory");
    for _ in 0..30 {
        let mut mallory = Client::with_token(world.gateway.public(), Dialect::Proto, &token).await;
        for _ in 0..9 {
            let length = usize::try_from(random() % 60).unwrap();
            let bytes: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[5]).collect();
            mallory.raw(Message::binary(bytes)).await;
        }
        mallory.start(json!({"ping": {}})).await;
        loop {
            match mallory.event().await {
                Event::Frame(frame) if frame.get("pong").is_some() => break,
                Event::Frame(_) => {}
                end => panic!("{end:?}"),
            }
        }
    }
    world.goes_on().await;
}

/// Read leniently, `%ff` and `%fe` would be one id, and what was forgotten to be encoded another one's.
#[tokio::test]
async fn malformed_percent_encoding_is_a_bad_request_wherever_an_id_stands() {
    let bystander = Bystander::new().await;
    let (public, admin) = (bystander.gateway.public(), bystander.gateway.admin());
    let token = token::dev("mallory");
    let key = format!("Bearer {}", http::DEV_API_KEY);
    for bad in ["%ff", "%", "100%", "%4", "%zz", "a%c3", "%ed%a0%80"] {
        let admins = [
            ("GET", format!("users/{bad}")),
            ("DELETE", format!("users/{bad}/connections")),
            ("DELETE", format!("users/bob/connections?session={bad}")),
            ("GET", format!("users?after={bad}")),
            ("GET", format!("groups/{bad}")),
            ("DELETE", format!("groups/{bad}")),
            ("PUT", format!("groups/g/members/{bad}")),
            ("GET", format!("groups/g/members?after={bad}")),
            ("GET", format!("history?user={bad}")),
            ("DELETE", format!("history?group={bad}")),
        ];
        for (method, path) in admins {
            let path = format!("/api/v1/{path}");
            let answer = request(admin, method, &path, &[("Authorization", &key)], b"").await;
            assert_eq!(answer.status, 400, "{method} {path}: {answer:?}");
            assert_eq!(answer.json()["error"]["code"], "bad_request");
        }
        let minted = request(public, "POST", &format!("/dev/token?user={bad}"), &[], b"").await;
        assert_eq!(minted.status, 400, "{bad}: {minted:?}");
        let events = http::get(public, &format!("/events?token={token}&watch={bad}")).await;
        assert_eq!(events.status, 400, "{bad}: {events:?}");
        for path in [
            format!("/ws?token={token}&device={bad}"),
            format!("/ws/{bad}"),
            format!("/socket.io?user={bad}"),
            format!("/serv/?user={bad}"),
        ] {
            let raw = Raw::open(public, &path, &[]).await;
            assert!(raw.head.starts_with("HTTP/1.1 400 "), "{path}: {}", raw.head);
        }
    }
    let key = [("Authorization", key.as_str())];
    for whole in ["%25", "%C3%BC", "a+b"] {
        assert_eq!(
            request(admin, "GET", &format!("/api/v1/users/{whole}"), &key, b"")
                .await
                .status,
            200
        );
    }
    bystander.goes_on().await;
}
