//! The backend on NATS, written with its client alone.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

use super::HUGE;

/// Made once: ten thousand are asked for.
static ANSWER: LazyLock<Bytes> = LazyLock::new(|| vec![0; HUGE].into());

pub struct NatsBackend {
    requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl NatsBackend {
    /// Serves every method of one service.
    pub async fn start(url: &str, prefix: &str, service: &str) -> Self {
        let client = async_nats::connect(url).await.expect("NATS is there");
        let subject = format!("{prefix}.svc.{service}.*");
        let subscribed = client.queue_subscribe(subject, "backend".to_owned()).await;
        let mut messages = subscribed.expect("a subscription");
        client.flush().await.expect("NATS is there");
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(client.clone(), message));
            }
        });
        Self { requests, task }
    }

    /// How many requests have come.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for NatsBackend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: Client, message: Message) {
    let Some(reply) = message.reply.clone() else { return };
    let method = message.subject.rsplit('.').next().unwrap_or_default();
    let sent = message.headers.clone().unwrap_or_default();
    let content_type = sent.get("Content-Type").map(ToString::to_string).unwrap_or_default();
    let typed = |content_type: &str| headers(&[("Content-Type", content_type)]);
    let (answer, body) = match method {
        "silent" | "dies" => return,
        "headers" => (typed("application/json"), as_json(&sent).to_string().into()),
        "bytes" => (HeaderMap::new(), vec![0, 0xff].into()),
        "refuse" => (micro_error("422", "no such dice"), message.payload),
        "fail" => (micro_error("500", "a stack trace"), message.payload),
        "liar" => (typed("application/json"), "{".into()),
        "huge" => {
            let published = client.publish(reply.clone(), ANSWER.clone()).await;
            let error = published.expect_err("the server allows 1 MiB");
            (micro_error("500", &error.to_string()), "".into())
        }
        "slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            (typed(&content_type), message.payload)
        }
        _ => (typed(&content_type), message.payload),
    };
    for _ in 0..if method == "twice" { 2 } else { 1 } {
        // Whoever asked may have gone with its server.
        let _ = client
            .publish_with_headers(reply.clone(), answer.clone(), body.clone())
            .await;
    }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, *value);
    }
    headers
}

/// As a NATS micro service answers.
fn micro_error(code: &str, text: &str) -> HeaderMap {
    headers(&[("Nats-Service-Error-Code", code), ("Nats-Service-Error", text)])
}

fn as_json(headers: &HeaderMap) -> Value {
    let pair = |(name, values): (&async_nats::HeaderName, &Vec<async_nats::HeaderValue>)| {
        let value = values.first().map(ToString::to_string).unwrap_or_default();
        (name.to_string().to_lowercase(), Value::from(value))
    };
    Value::Object(headers.iter().map(pair).collect::<Map<_, _>>())
}
