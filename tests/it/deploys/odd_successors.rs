//! What the running process makes of whoever asks it for its sockets, and a new one of whoever it asks: played by the test.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::handover::Site;
use super::{call, said};
use crate::support::house::eventually;
use crate::support::targets::within;

/// One end of the conversation; descriptors are let go of.
struct Talk(UnixStream);

impl Talk {
    async fn to(socket: &Path) -> Self {
        Self(UnixStream::connect(socket).await.unwrap())
    }

    async fn say(&mut self, said: &Value) {
        let text = said.to_string();
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length, text.as_bytes()].concat()).await.unwrap();
    }

    /// Passes the socket at which it is asked, and nothing else.
    async fn offer(&mut self, listener: &UnixListener) {
        let text = json!({"offers": {"passed": ["handover"]}}).to_string();
        let frame = [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
        let (mut space, passed) = ([MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))], [listener.as_fd()]);
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&passed)));
        self.0.writable().await.unwrap();
        assert_eq!(sendmsg(&self.0, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL), Ok(frame.len()));
    }

    async fn hear(&mut self) -> Value {
        let hearing = async {
            let length = self.0.read_u32().await.unwrap();
            let mut text = vec![0; length as usize];
            self.0.read_exact(&mut text).await.unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        within("an answer", hearing).await
    }

    /// Asks, and says that it is ready.
    async fn get_ready(&mut self) {
        self.say(&json!({"asks": {"version": 1}})).await;
        assert_eq!(self.hear().await, json!({"offers": {"passed": ["handover", {"plane": "data"}, {"plane": "ops"}]}}));
        self.say(&json!("ready")).await;
    }

    async fn hear_counts(&mut self) {
        assert_eq!(self.hear().await["counts"]["held"].as_array().unwrap().len(), 2, "the source's total, and its endpoint");
        assert_eq!(self.hear().await, json!("counts_end"));
    }
}

#[tokio::test]
async fn whoever_asks_and_goes_wrong_changes_nothing() {
    let site = Site::new().await;
    let serving = site.program.serve().await;
    call(serving.data).await.expect(200);
    let unready = "a new process was not ready to take over: this one serves on";
    let failed = "a new process did not take over: this one serves on";
    let mut times = 0;
    let mut again = async |message: &str, why: &str| {
        times += 1;
        eventually("the running one serves on", || async { said(&serving.running, unready) + said(&serving.running, failed) == times })
            .await;
        let log = serving.running.err();
        assert!(log.lines().rfind(|line| line.contains(message)).is_some_and(|line| line.contains(why)), "{log}");
        call(serving.data).await.expect(200);
    };

    drop(Talk::to(&site.socket()).await);
    again(unready, "it has ended").await;

    let mut talk = Talk::to(&site.socket()).await;
    talk.say(&json!({"asks": {"version": 99}})).await;
    assert_eq!(talk.hear().await, json!({"refuses": {"why": "it asks in version 99, not 1"}}));
    again(unready, "version 99").await;

    let mut talk = Talk::to(&site.socket()).await;
    talk.0.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    again(unready, "it is too long").await;

    let mut talk = Talk::to(&site.socket()).await;
    talk.say(&json!({"asks": "politely"})).await;
    again(unready, "it cannot be understood").await;

    let mut talk = Talk::to(&site.socket()).await;
    talk.say(&json!("taken")).await;
    again(unready, "it did not ask first").await;

    // One that has said it is ready is given everything, and has to say that it has it.
    let mut talk = Talk::to(&site.socket()).await;
    talk.get_ready().await;
    talk.hear_counts().await;
    drop(talk);
    again(failed, "it has ended").await;

    let mut talk = Talk::to(&site.socket()).await;
    talk.get_ready().await;
    talk.hear_counts().await;
    // Whoever calls meanwhile waits, and is served.
    let (waits, refused) = tokio::join!(call(serving.data), talk.hear());
    waits.expect(200);
    assert_eq!(refused, json!({"refuses": {"why": "it took too long"}}));
    again(failed, "it took too long").await;
    serving.stop().await.expect(0);
}

#[tokio::test]
async fn a_predecessor_that_is_gone_is_succeeded_and_one_that_refuses_is_not() {
    let site = Site::new().await;
    std::fs::create_dir(site.program.folder().join("data")).unwrap();
    let listener = UnixListener::bind(site.socket()).unwrap();
    let taking_over = || site.program.to_serve().start(&["serve", "--take-over"]);
    let asked = async || {
        let mut talk = Talk(within("a new process asks", listener.accept()).await.unwrap().0);
        assert_eq!(talk.hear().await, json!({"asks": {"version": 1}}));
        talk
    };
    let refuses = json!({"refuses": {"why": "no"}});

    // It serves on: at once, when this one is ready, when this one has everything.
    let new = taking_over();
    asked().await.say(&refuses).await;
    assert!(new.end().await.expect(1).err.contains("the running process serves on: no"));
    for counts in [vec![], vec![json!({"counts": {"held": []}}), json!("counts_end")]] {
        let new = taking_over();
        let mut talk = asked().await;
        talk.offer(&listener).await;
        assert_eq!(talk.hear().await, json!("ready"));
        for said in &counts {
            talk.say(said).await;
        }
        if !counts.is_empty() {
            assert_eq!(talk.hear().await, json!("taken"));
        }
        talk.say(&refuses).await;
        assert!(new.end().await.expect(1).err.contains("the running process serves on: no"));
    }

    // It is gone without a word.
    let new = taking_over();
    let mut talk = asked().await;
    talk.offer(&listener).await;
    assert_eq!(talk.hear().await, json!("ready"));
    drop((talk, listener));
    let serving = new.serving().await;
    let alone = "the process before this one ended before it had handed everything over: this one serves, by the counts it knows";
    assert_eq!(said(&serving.running, alone), 1);
    call(serving.data).await.expect(200);
    serving.stop().await.expect(0);
}
