//! The floor: a server that does nothing but one write of a ready frame for each subscriber and message. No protocol, no
//! queue, no account of what was lost. Nothing that delivers one by one can be cheaper, so that it is the yardstick: it
//! runs beside a server, on the same machine, in the same minute.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::wire::upgrade::accept;

const MAX_REQUEST: usize = 1 << 20;

#[derive(Debug, Args)]
pub struct Floor {
    /// Where subscribers connect (any path), and where what is posted to /pub goes to all of them
    #[arg(long, default_value = "127.0.0.1:8009")]
    pub listen: SocketAddr,
}

type Subscribers = Arc<Mutex<Vec<TcpStream>>>;

/// Never ends by itself.
pub fn run(args: &Floor) -> Result<()> {
    let listener = TcpListener::bind(args.listen).with_context(|| format!("{}", args.listen))?;
    println!("listening public {}", listener.local_addr()?);
    let subscribers = Subscribers::default();
    for stream in listener.incoming() {
        let (stream, subscribers) = (stream?, Arc::clone(&subscribers));
        // Whoever misbehaves loses the connection.
        thread::spawn(move || serve(stream, &subscribers));
    }
    Ok(())
}

fn serve(mut stream: TcpStream, subscribers: &Subscribers) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read(&mut stream, &mut buffer)? else {
            return Ok(());
        };
        match request {
            Request::Upgrade(key) => {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    accept(&key)
                );
                stream.write_all(answer.as_bytes())?;
                stream.set_nonblocking(true)?;
                subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                return Ok(());
            }
            Request::Publish(body) => {
                publish(subscribers, &frame(&body));
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            }
        }
    }
}

fn publish(subscribers: &Subscribers, frame: &[u8]) {
    let mut subscribers = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
    // What a socket does not take is lost; the load test says so.
    subscribers.retain_mut(|stream| match stream.write(frame) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    });
}

/// One unmasked text frame.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(body.len()) {
        Ok(length) if length < 126 => frame.push(length as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((body.len() as u64).to_be_bytes());
        }
    }
    frame.extend(body);
    frame
}

enum Request {
    Upgrade(String),
    Publish(Vec<u8>),
}

/// The next request; none: the client has gone.
fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Request>> {
    loop {
        if let Some((request, length)) = parse(buffer)? {
            buffer.drain(..length);
            return Ok(Some(request));
        }
        if buffer.len() > MAX_REQUEST {
            bail!("a request without an end");
        }
        let mut chunk = [0; 8192];
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(None);
        }
        buffer.extend(&chunk[..count]);
    }
}

/// A whole request, and its length.
fn parse(buffer: &[u8]) -> Result<Option<(Request, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(buffer)? else {
        return Ok(None);
    };
    let value = |name: &str| {
        let mut found = request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        found.next().and_then(|header| str::from_utf8(header.value).ok())
    };
    if let Some(key) = value("Sec-WebSocket-Key") {
        return Ok(Some((Request::Upgrade(key.to_owned()), head)));
    }
    let length: usize = value("Content-Length").unwrap_or("0").parse()?;
    let body = buffer.get(head..head + length);
    Ok(body.map(|body| (Request::Publish(body.to_vec()), head + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths_have_their_header() {
        assert_eq!(&frame(&[7; 3]), &[0x81, 3, 7, 7, 7]);
        assert_eq!(&frame(&[0; 126])[..4], &[0x81, 126, 0, 126]);
        assert_eq!(
            &frame(&vec![0; 70_000])[..10],
            &[0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]
        );
    }

    #[test]
    fn requests_may_come_in_parts_and_together() {
        let text = b"POST /pub HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nSec-WebSocket-Key: k\r\n\r\n";
        assert!(parse(&text[..30]).expect("a beginning").is_none());
        let (request, length) = parse(text).expect("a request").expect("whole");
        assert!(matches!(request, Request::Publish(body) if body == b"hi"));
        let (request, _) = parse(&text[length..]).expect("a request").expect("whole");
        assert!(matches!(request, Request::Upgrade(key) if key == "k"));
    }
}
