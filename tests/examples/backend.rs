//! A backend for Herald in Rust: the services auth, lobby and echo, as whoever answers requests on NATS.
//!
//!     cargo run -p herald-tests --example backend -- [nats://127.0.0.1:4222] [herald-dev]
//!
//! The second argument is the prefix: `prefix` of Herald's `[nats]` table, `herald-dev` with `--dev`.

use std::{collections::HashMap, env, io::Write};

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures_util::{StreamExt, stream::select_all};
use serde_json::{Value, json};

/// The `msg_id` of `cmsg.SRespMyData`.
const MY_DATA_REPLY: &str = "2091323817";

/// What an answer is: a content type with a body, or the status and text of an error that the client may read.
type Answer = Result<(&'static str, Bytes), (u16, &'static str)>;

/// Login. `cmsg.CReqLogin` has the account in field 2 and the password in field 3.
fn auth(login: &Bytes) -> Answer {
    let fields = fields(login).unwrap_or_default();
    let field = |number: &u64| fields.get(number).map(String::as_str);
    let account = field(&2).unwrap_or_default();
    let good = matches!(
        (account, field(&3)),
        ("alice", Some("wonderland")) | ("bob", Some("builder"))
    );
    answer(&json!({"user": account, "account": account, "groups": ["lobby"], "err_code": if good { 0 } else { 1 }}))
}

/// `cmsg.CReqMyData`: who asks stands in the headers, percent-encoded, and Herald has verified it.
fn my_data(user: &str) -> Answer {
    let text = format!("the data of {}", &user[..user.len().min(90)]);
    let field = [&[1 << 3 | 2, text.len() as u8], text.as_bytes()].concat();
    Ok(("application/octet-stream", field.into()))
}

/// `{"call":{"service":"lobby","method":"roll","body":{"dice":2}}}`
fn roll(body: &Bytes) -> Answer {
    let body: Value = serde_json::from_slice(body).map_err(|_| (400, "no JSON"))?;
    match body["dice"].as_u64().unwrap_or(1) {
        dice @ 1..=10 => answer(&json!({"sum": (0..dice).map(|n| 1 + n % 6).sum::<u64>()})),
        _ => Err((422, "dice must be 1 to 10")),
    }
}

fn answer(json: &Value) -> Answer {
    Ok(("application/json", json.to_string().into()))
}

/// The texts in a protobuf message, by field number; None where it breaks off.
fn fields(mut data: &[u8]) -> Option<HashMap<u64, String>> {
    let mut fields = HashMap::new();
    while !data.is_empty() {
        let tag = varint(&mut data)?;
        if tag & 7 != 2 {
            break;
        }
        let length = usize::try_from(varint(&mut data)?).ok()?;
        let (text, rest) = data.split_at_checked(length)?;
        fields.insert(tag >> 3, String::from_utf8_lossy(text).into_owned());
        data = rest;
    }
    Some(fields)
}

fn varint(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = data.split_first()?;
        *data = rest;
        value |= u64::from(byte & 127) << shift;
        if *byte < 128 {
            return Some(value);
        }
    }
    None
}

async fn serve(client: &Client, service: &str, request: Message) -> anyhow::Result<()> {
    let Some(reply) = request.reply else { return Ok(()) };
    let sent = request.headers.unwrap_or_default();
    let header = |name: &str| sent.get(name).map_or("", |value| value.as_str());
    let answer = match service {
        "auth" => auth(&request.payload),
        "lobby" => my_data(header("Herald-User")),
        "lobby.roll" => roll(&request.payload),
        _ if header("Content-Type") == "application/json" => Ok(("application/json", request.payload)),
        _ => Ok(("application/octet-stream", request.payload)),
    };
    let mut headers = HeaderMap::new();
    if service == "lobby" {
        headers.insert("Herald-Msg-Id", MY_DATA_REPLY);
    }
    let body = match answer {
        Ok((content_type, body)) => {
            headers.insert("Content-Type", content_type);
            body
        }
        Err((status, text)) => {
            headers.insert("Nats-Service-Error-Code", status.to_string());
            headers.insert("Nats-Service-Error", text);
            Bytes::new()
        }
    };
    Ok(client.publish_with_headers(reply, headers, body).await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
    let prefix = arguments.next().unwrap_or_else(|| "herald-dev".to_owned());
    let client = async_nats::connect(url).await?;
    let mut services = Vec::new();
    for service in ["auth", "lobby", "lobby.roll", "echo"] {
        // Of several backends in one queue group each request goes to one.
        let subject = format!("{prefix}.svc.{service}");
        let requests = client.queue_subscribe(subject, "herald-example".to_owned()).await?;
        services.push(requests.map(move |request| (service, request)));
    }
    client.flush().await?;
    writeln!(std::io::stdout(), "serving")?;
    let mut requests = select_all(services);
    while let Some((service, request)) = requests.next().await {
        serve(&client, service, request).await?;
    }
    Ok(())
}
