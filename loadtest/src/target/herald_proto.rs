//! Herald's native protobuf frames.

use anyhow::Result;
use herald_proto::client::{ClientFrame, Send, ServerFrame, Target, server_frame::Frame};
use prost::Message as _;

use super::{Heard, Peer, Publish, Server, To, Who, herald};
use crate::wire::{Outgoing, upgrade::Upgrade};

pub struct HeraldProto {
    server: Server,
    by_api: bool,
}

impl HeraldProto {
    pub fn new(server: Server, by_api: bool) -> Self {
        Self { server, by_api }
    }

    fn target(&self, to: To) -> Target {
        let mut target = Target::default();
        match to {
            To::All => target.all = Some(true),
            To::User(number) => target.user = Some(self.server.user(number)),
            To::Group(number) => target.group = Some(self.server.group(number)),
        }
        target
    }
}

impl Peer for HeraldProto {
    fn upgrade(&self, who: &Who, cursor: Option<&str>, path: &str) -> Result<Upgrade> {
        herald::upgrade(&self.server, who, cursor, path, "herald.v1.proto")
    }

    fn hear(&self, _who: &Who, frame: &[u8]) -> Heard {
        let Ok(ServerFrame { id, frame }) = ServerFrame::decode(frame) else {
            return Heard::Refused("a frame that is no ServerFrame".into());
        };
        match frame {
            Some(Frame::Connected(connected)) => Heard::Ready {
                cursor: connected.cursor,
                gap: connected.gap,
            },
            Some(Frame::Cursor(cursor)) => Heard::Cursor(cursor),
            Some(Frame::Notice(notice)) if notice.code == "gap" => Heard::Gap,
            Some(Frame::Error(error)) => {
                let error = format!("{}: {}", error.code, error.message);
                if id == 0 {
                    Heard::Refused(error)
                } else {
                    Heard::Answer { id, error: Some(error) }
                }
            }
            _ if id != 0 => Heard::Answer { id, error: None },
            _ => Heard::Nothing,
        }
    }

    fn publish(&self, to: To, body: &str, id: u32) -> Result<Publish> {
        if self.by_api {
            return Ok(herald::post(&self.server, to, body));
        }
        let send = Send {
            to: Some(self.target(to)),
            body: body.as_bytes().to_vec().into(),
            content_type: "text/plain".into(),
            durable: Some(self.server.durable),
            ..Send::default()
        };
        let frame = ClientFrame {
            id,
            send: Some(send),
            ..ClientFrame::default()
        };
        Ok(Publish::Frame(Outgoing::Binary(frame.encode_to_vec())))
    }

    fn answers(&self) -> bool {
        !self.by_api
    }
}
