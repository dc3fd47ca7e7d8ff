//! A client that is cut and comes back, as PROTOCOL.md asks it to: it keeps the last cursor, hands it in when it connects
//! again, and drops offsets that it has seen. It also sends what it was given to send, until it is `sent`.

use std::{
    net::SocketAddr,
    time::{Duration, Instant as Clock},
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    PATIENCE,
    client::{Client, Dialect, Event, Refusal, Upgrade},
    heard::Heard,
    outgoing::Outgoing,
    tls::Trusting,
    token,
};

/// The id of the pings by which a follower asks for a sign of life: above all others.
const HEARTBEAT_ID: u32 = u32::MAX;

pub struct Follower {
    pub user: String,
    token: String,
    dialect: Dialect,
    /// Hands the cursor in with a `connect` frame instead of in the upgrade's query.
    pub by_frame: bool,
    /// Connects over TLS.
    pub tls: Option<Trusting>,
    /// Without a sign of life for so long it asks for one, and after twice so long it takes the connection for dead. None: never.
    pub heartbeat: Option<Duration>,
    /// When the last frame came.
    alive: Instant,
    asked: bool,
    client: Option<Client>,
    /// The last one: of `connected`, or pushed.
    pub cursor: Option<String>,
    /// How many cursors were pushed.
    pub cursors: usize,
    /// The codes of all notices.
    pub notices: Vec<String>,
    pub heard: Heard,
    pub outgoing: Outgoing,
    /// The content of the last `connected`.
    pub connected: Value,
    /// How often `connected` said that messages may be gone.
    pub gaps: usize,
}

impl Follower {
    /// Not connected yet.
    pub fn new(user: &str, dialect: Dialect, token: String) -> Self {
        Self {
            user: user.to_owned(),
            token,
            dialect,
            by_frame: false,
            tls: None,
            heartbeat: None,
            alive: Instant::now(),
            asked: false,
            client: None,
            cursor: None,
            cursors: 0,
            notices: Vec::new(),
            heard: Heard::default(),
            outgoing: Outgoing::default(),
            connected: Value::Null,
            gaps: 0,
        }
    }

    /// A development user, member of `groups`, connected for the first time.
    pub async fn dev(address: SocketAddr, user: &str, groups: &[&str]) -> Self {
        let token = token::dev_with(user, &json!({"groups": groups}));
        let mut follower = Self::new(user, Dialect::Json, token);
        follower.resume(address).await;
        follower
    }

    /// Connects, with the last cursor if there is one; the content of `connected`.
    pub async fn resume(&mut self, address: SocketAddr) -> &Value {
        if let Err(why) = self.try_resume(address).await {
            panic!("{} cannot connect: {why}", self.user);
        }
        &self.connected
    }

    /// The same towards a server that may be gone, or not able. Says why it failed.
    pub async fn try_resume(&mut self, address: SocketAddr) -> Result<(), String> {
        self.open(address, false).await
    }

    /// Connects through a socket that takes in little.
    pub async fn resume_narrow(&mut self, address: SocketAddr) {
        let opened = self.open(address, true).await;
        opened.unwrap_or_else(|why| panic!("{} cannot connect: {why}", self.user));
    }

    async fn open(&mut self, address: SocketAddr, narrow: bool) -> Result<(), String> {
        self.cut();
        let mut upgrade = Upgrade::to(address).dialect(self.dialect);
        if narrow {
            upgrade = upgrade.narrow();
        }
        if let Some(trusting) = &self.tls {
            upgrade = upgrade.tls(trusting);
        }
        let mut connect = json!({"token": self.token});
        if let Some(cursor) = &self.cursor {
            connect["cursor"] = json!(cursor);
        }
        if !self.by_frame {
            for (name, value) in connect.as_object().expect("an object") {
                upgrade = upgrade.text(name, value.as_str().expect("a text"));
            }
        }
        let (mut client, _) = upgrade.try_open().await.map_err(|refusal| match refusal {
            Refusal::Status(status @ 500..) => format!("HTTP {status}"),
            Refusal::Status(status) => panic!("{} was refused with {status}", self.user),
            Refusal::Lost(why) => why,
        })?;
        if self.by_frame {
            client.start(json!({"connect": connect})).await;
        }
        self.connected = loop {
            match client.event().await {
                Event::Frame(mut frame) if frame.get("connected").is_some() => break frame["connected"].take(),
                // The close comes after it.
                Event::Frame(frame) if frame["error"]["retry"] == true => {}
                Event::Frame(frame) => panic!("{frame} in place of connected"),
                Event::Closed(code, reason) => return Err(closed(code, &reason)),
                Event::Lost(why) => return Err(why),
            }
        };
        if self.connected["gap"] == true && self.connected["resumed"] == false {
            self.heard.forget_offsets();
        }
        self.gaps += usize::from(self.connected["gap"] == true);
        if let Some(cursor) = self.connected["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
        self.client = Some(client);
        self.lives();
        Ok(())
    }

    /// Ends the connection without a word, in the middle of whatever comes.
    pub fn cut(&mut self) {
        self.client = None;
        self.outgoing.lost();
    }

    /// The connection, for commands by hand. What it puts aside meanwhile is noted by the next `run`.
    pub fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("it is connected")
    }

    /// Hears and sends until `end`. Says why the connection ended, if it did.
    pub async fn run(&mut self, end: Instant) -> Result<(), String> {
        while self.step(end).await? {}
        Ok(())
    }

    /// One frame; false where none came until `end`, or until something is to be sent.
    async fn step(&mut self, end: Instant) -> Result<bool, String> {
        let client = self.client.as_mut().ok_or("not connected")?;
        let aside = client.take_waiting();
        while let Some(frame) = self.outgoing.next_frame() {
            // A connection that has just ended says so when it is read.
            let _ = client.try_send(&frame).await;
        }
        let wake = self.outgoing.due().map_or(end, |due| due.min(end));
        let wake = self.heartbeat.map_or(wake, |heartbeat| {
            let patience = if self.asked { heartbeat * 2 } else { heartbeat };
            wake.min(self.alive + patience)
        });
        let event = if aside.is_empty() {
            client.event_until(wake).await
        } else {
            None
        };
        for frame in aside {
            self.take(frame);
        }
        match event {
            Some(Event::Frame(frame)) => {
                self.lives();
                self.take(frame);
            }
            None => self.beat().await?,
            Some(end) => {
                self.cut();
                return Err(match end {
                    Event::Closed(code, reason) => closed(code, &reason),
                    Event::Lost(why) => why,
                    Event::Frame(_) => unreachable!("taken above"),
                });
            }
        }
        Ok(Instant::now() < end)
    }

    fn lives(&mut self) {
        (self.alive, self.asked) = (Instant::now(), false);
    }

    /// Where nothing has come for long.
    async fn beat(&mut self) -> Result<(), String> {
        let (Some(heartbeat), silence) = (self.heartbeat, self.alive.elapsed()) else {
            return Ok(());
        };
        if silence >= heartbeat * 2 {
            self.cut();
            return Err("no sign of life".to_owned());
        }
        if let Some(client) = &mut self.client
            && silence >= heartbeat
            && !std::mem::replace(&mut self.asked, true)
        {
            // A connection that has just ended says so when it is read.
            let _ = client.try_send(&json!({"id": HEARTBEAT_ID, "ping": {}})).await;
        }
        Ok(())
    }

    fn take(&mut self, frame: Value) {
        if let Some(message) = frame.get("message") {
            self.heard.note(&self.user, message);
        } else if let Some(cursor) = frame.get("cursor") {
            self.cursor = Some(cursor.as_str().expect("a cursor is a text").to_owned());
            self.cursors += 1;
        } else if let Some(code) = frame["notice"]["code"].as_str() {
            self.notices.push(code.to_owned());
            if code == "gap" {
                self.heard.forget_offsets();
            }
        } else if frame.get("id").is_some_and(|id| *id != HEARTBEAT_ID) {
            assert!(self.outgoing.answered(&frame), "an answer to nothing: {frame}");
        }
    }

    /// Hears until `holds`; fails the test, naming `what`, where it never does or the connection ends before.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            let more = self.step(end).await;
            let more = more.unwrap_or_else(|why| panic!("{} was cut: {why}; awaited: {what}", self.user));
            assert!(
                more || holds(self),
                "{}: never came: {what}; heard {}, of these {:?} to each",
                self.user,
                self.heard.count(),
                self.heard
                    .targets
                    .iter()
                    .map(|(t, items)| (t, items.len()))
                    .collect::<Vec<_>>()
            );
        }
    }

    /// Hears until a message with this body has come.
    pub async fn until_heard(&mut self, body: &Value) {
        // A scan of all that was heard at each message would be slow.
        let mut known = 0;
        self.until(&format!("the message {body}"), |follower| {
            let count = follower.heard.count();
            std::mem::replace(&mut known, count) != count && follower.heard.has(body)
        })
        .await;
    }

    /// Waits until a cursor is pushed.
    pub async fn until_cursor(&mut self) {
        let before = self.cursors;
        self.until("a cursor", |follower| follower.cursors > before).await;
    }

    /// Comes back, to the first of the addresses that takes it, as a client should: again and again, not in haste.
    pub async fn come_back(&mut self, addresses: impl Fn() -> Vec<SocketAddr>, within: Duration) {
        let end = Clock::now() + within;
        let mut tries = 0;
        loop {
            let addresses = addresses();
            let Err(why) = self.try_resume(addresses[tries % addresses.len()]).await else {
                return;
            };
            assert!(Clock::now() < end, "{} cannot come back: {why}", self.user);
            tries += 1;
            sleep(Duration::from_millis(50 * tries.min(10) as u64)).await;
        }
    }
}

/// A close that tells the client not to come back is a failure of the test.
fn closed(code: u16, reason: &str) -> String {
    assert!(!(4100..4200).contains(&code), "closed for good: {code} {reason}");
    format!("closed with {code} {reason}")
}
