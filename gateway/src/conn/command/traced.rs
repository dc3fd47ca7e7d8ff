//! What a collector is told of a connect and a message.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, convert::Infallible, net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::{Target, subject::Names};
use herald_router::{
    bus::memory,
    config::TelemetrySettings,
    core::Router,
    policy::Policy,
    service,
    telemetry::{self, Export},
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prost::Message;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Job;
use crate::{
    auth::Identity,
    config::GatewayConfig,
    dialect::Dialect,
    event::{Answer, Body, ConnectOptions, Send, Tag},
    gateway::Gateway,
    session::Ordered,
};

/// Of OTLP what is looked at here (opentelemetry/proto/collector/trace/v1).
#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(int64, tag = "3")]
    number: i64,
}

impl Span {
    fn value(&self, key: &str) -> Value {
        let found = self.attributes.iter().find(|attribute| attribute.key == key);
        found.and_then(|found| found.value.clone()).unwrap_or_default()
    }
}

type Told = Arc<Mutex<Vec<Span>>>;

/// One that takes all, and its URL.
async fn collector() -> (String, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let told = Told::default();
    let kept = told.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let kept = kept.clone();
            let take = service_fn(move |request| take(request, kept.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), take));
        }
    });
    (url, told)
}

async fn take(request: Request<Incoming>, told: Told) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let export = ExportRequest::decode(body).unwrap();
    let scopes = export.resources.into_iter().flat_map(|resource| resource.scopes);
    told.lock().extend(scopes.flat_map(|scope| scope.spans));
    Ok(Response::new(Full::default()))
}

fn export_all(url: String) -> Export {
    let settings = TelemetrySettings {
        otlp_endpoint: Some(url),
        otlp_sample: 1.0,
    };
    telemetry::start_tracing(&settings, "n1", ("herald-gateway", "0")).unwrap()
}

/// With a router inside, at work.
async fn gateway() -> Arc<Gateway> {
    let (mut config, _) = GatewayConfig::parse("", std::iter::empty());
    config.develop();
    let bus = memory::bus(config.log.limits());
    let names = Names::new(config.nats.prefix.clone());
    let router = Router::new(bus.clone(), Policy::open(), names);
    let readiness = service::start(router, "n1", CancellationToken::new(), &TaskTracker::new());
    let gateway = Gateway::new(&config, "n1".to_owned(), &bus, CancellationToken::new()).unwrap();
    let work = gateway.clone();
    tokio::spawn(async move { work.run().await });
    let serves = || {
        let mut conditions = readiness.conditions().into_iter();
        conditions.all(|one| one.name == "canary" || one.fault.is_none())
    };
    while !serves() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway
}

fn to_bob() -> Ordered {
    let send = Send {
        to: Target::user("bob"),
        body: Body {
            bytes: Bytes::from_static(b"1"),
            content_type: String::new(),
        },
        original: None,
        kind: None,
        durable: true,
        key: None,
        ttl: 0,
        copy: false,
    };
    Ordered::Send {
        send: Box::new(send),
        broadcast: false,
    }
}

async fn send(gateway: &Arc<Gateway>) {
    let job = Job {
        gateway,
        connection: "n1-a",
        user: "alice",
        session: None,
        address: Ipv4Addr::LOCALHOST.into(),
        serial: 1,
    };
    let sent = match job.run(to_bob()).await {
        Answer::Sent(sent) => sent,
        other => panic!("{other:?}"),
    };
    gateway.hub.delivered(&Target::user("bob"), &sent).await;
}

#[tokio::test]
async fn a_send_is_one_trace_through_gateway_router_log_and_delivery() {
    let (url, told) = collector().await;
    let export = export_all(url);
    let gateway = gateway().await;
    let identity = Identity {
        user: "bob".to_owned(),
        groups: Vec::new(),
        broadcast: false,
        issued: None,
        expires: u64::from(u32::MAX),
        session: None,
    };
    let (bob, _open) = gateway.open(Dialect::Json, gateway.socket(None), [127, 0, 0, 1].into());
    let options = ConnectOptions::default();
    let connected = gateway.connect(&bob, &Tag::None, &identity, &options).await;
    connected.unwrap();
    send(&gateway).await;
    timeout(Duration::from_secs(30), export.end()).await.unwrap();

    let told = told.lock();
    // Other tests of this process may have sent spans too.
    let of = |name: &str, connection: &str| {
        let mut spans = told.iter();
        let found = spans.find(|span| span.name == name && span.value("herald.connection").text == connection);
        found.cloned().unwrap()
    };
    let command = of("command", "n1-a");
    assert_eq!(command.value("herald.verb").text, "send");
    assert!(command.parent.is_empty(), "the beginning");
    let trace: HashMap<&str, &Span> = told
        .iter()
        .filter(|span| span.trace == command.trace)
        .map(|span| (&*span.name, span))
        .collect();
    assert_eq!(trace.len(), 4, "{trace:?}");
    let handle = trace["handle"];
    assert_eq!(
        (&handle.parent, &*handle.value("herald.verb").text),
        (&command.id, "send")
    );
    assert_eq!(trace["append"].parent, handle.id);
    let deliver = trace["deliver"];
    assert_eq!(deliver.parent, handle.id);
    assert_eq!(deliver.value("herald.receivers").number, 1);

    let connect = of("connect", &bob.id);
    let asked = told.iter().find(|span| span.parent == connect.id).unwrap();
    assert_eq!((&*asked.name, &*asked.value("herald.verb").text), ("handle", "connect"));
    assert!(
        told.iter().all(|span| !format!("{span:?}").contains("bob")),
        "no ids of users"
    );
}
