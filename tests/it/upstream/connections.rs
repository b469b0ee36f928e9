//! A connection to a target is kept for the next call, and for no longer than it may be of use.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eliza_gatekeeper::clock::Clock;
use eliza_gatekeeper::policy::{Target, Targets as PolicyTargets};
use eliza_gatekeeper::upstream::{Answer, Dial, Upstream};
use http::Uri;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, advance, sleep, timeout};

use super::{body, call, target};
use crate::support::targets::within;

const YES: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes";
/// As servers answer that do not know the length when they begin.
const PIECES: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nye\r\n1\r\ns\r\n0\r\n\r\n";

/// Reads one request and answers it.
async fn serve(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &str) {
    read_request(stream).await;
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// The connection that one call was answered on.
async fn once(upstream: &Upstream, target: &Target, opened: &mut UnboundedReceiver<DuplexStream>) -> DuplexStream {
    let (answer, connection) = tokio::join!(call(target).through(upstream), async {
        let mut connection = opened.recv().await.unwrap();
        serve(&mut connection, YES).await;
        connection
    });
    said_yes(answer.unwrap()).await;
    connection
}

/// The callers here all send `{}`.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        let read = within("a request", stream.read_buf(&mut request)).await.unwrap();
        assert!(read > 0, "no request: {:?}", String::from_utf8_lossy(&request));
    }
}

/// Whose other ends of connections are ours.
fn in_memory() -> (Upstream, UnboundedReceiver<DuplexStream>) {
    let (opened, others) = unbounded_channel();
    let dial = move |_: &Uri| {
        let (ours, theirs) = duplex(64 * 1024);
        opened.send(theirs).unwrap();
        ours
    };
    (Upstream::new(Dial::Memory(Arc::new(dial)), Clock::system()), others)
}

fn nowhere() -> Target {
    target("brain", "http://nowhere.invalid/brain".parse().unwrap())
}

async fn said_yes(answer: Answer) {
    assert_eq!((answer.status.as_u16(), body(answer).await.as_ref()), (200, b"yes".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn calls_one_after_the_other_share_a_connection_and_calls_at_once_do_not() {
    let (upstream, mut opened) = in_memory();
    let target = nowhere();
    let (answer, mut first) = tokio::join!(call(&target).through(&upstream), async {
        let mut first = opened.recv().await.unwrap();
        serve(&mut first, YES).await;
        first
    });
    said_yes(answer.unwrap()).await;
    for answer in [YES, PIECES, YES] {
        let (answer, ()) = tokio::join!(call(&target).through(&upstream), serve(&mut first, answer));
        said_yes(answer.unwrap()).await;
        // What is still to be read of an answer that came in pieces is read by then.
        advance(Duration::from_millis(1)).await;
    }
    assert!(opened.is_empty(), "one was enough");

    let (one, other, ()) = tokio::join!(call(&target).through(&upstream), call(&target).through(&upstream), async {
        let mut second = opened.recv().await.unwrap();
        serve(&mut second, YES).await;
        serve(&mut first, YES).await;
    });
    said_yes(one.unwrap()).await;
    said_yes(other.unwrap()).await;
    assert!(opened.is_empty(), "one for each");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_that_no_call_takes() {
    let (upstream, mut opened) = in_memory();
    let target = nowhere();
    // Left alone for as long as it is good for, or closed by its target: no call comes, and it goes even so.
    for (closes, bounds) in [(false, 4..=6), (true, 0..=2)] {
        let mut connection = once(&upstream, &target, &mut opened).await;
        let began = Instant::now();
        if closes {
            connection.shutdown().await.unwrap();
        }
        assert_eq!(within("its end", connection.read(&mut [0])).await.unwrap(), 0);
        assert!(bounds.contains(&began.elapsed().as_secs()), "closed: {closes}, after {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_leaves_the_policy_leaves_its_connections() {
    let (upstream, mut opened) = in_memory();
    let target = Arc::new(nowhere());
    upstream.follow(&PolicyTargets { by_name: [("brain".into(), Arc::clone(&target))].into_iter().collect() });
    let mut connection = once(&upstream, &target, &mut opened).await;
    let began = Instant::now();
    upstream.follow(&PolicyTargets::default());
    assert_eq!(within("its end", connection.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// A target that lets nobody in any more still serves whoever is in: a call that waits to get in takes the place of one that is done.
#[tokio::test]
async fn a_call_that_waits_for_a_connection_takes_one_that_becomes_free() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = socket.listen(1).unwrap();
    let target = target("brain", format!("http://{address}/brain").parse().unwrap());
    let upstream = super::upstream();
    let serves = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        let mut knocking = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            knocking.push(stream);
            assert!(knocking.len() < 100, "the queue never fills");
        }
        let second = async {
            said_yes(call(&target).through(&upstream).await.unwrap()).await;
        };
        let first_and_second = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stream.write_all(YES.as_bytes()).await.unwrap();
            serve(&mut stream, YES).await;
        };
        tokio::join!(second, first_and_second);
    };
    tokio::join!(async { said_yes(call(&target).through(&upstream).await.unwrap()).await }, serves);
}

/// Nothing was sent on it, so what must not be sent twice may go again.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_while_it_is_opened_has_taken_no_call() {
    let (opened, mut others) = unbounded_channel();
    let dials = AtomicUsize::new(0);
    let dial = move |_: &Uri| {
        let (ours, theirs) = duplex(64 * 1024);
        if dials.fetch_add(1, Ordering::Relaxed) > 0 {
            opened.send(theirs).unwrap();
        }
        ours
    };
    let upstream = Upstream::new(Dial::Memory(Arc::new(dial)), Clock::system());
    once(&upstream, &nowhere(), &mut others).await;
}

/// Answers as soon as it has seen the head of a request that is too large to be written at once.
async fn answered_early(upstream: &Upstream, target: &Target, opened: &mut UnboundedReceiver<DuplexStream>) -> DuplexStream {
    let (answer, connection) = tokio::join!(call(target).sending(vec![b' '; TOO_LARGE]).through(upstream), async {
        let mut connection = opened.recv().await.unwrap();
        connection.read_exact(&mut [0; 1024]).await.unwrap();
        connection.write_all(YES.as_bytes()).await.unwrap();
        connection
    });
    said_yes(answer.unwrap()).await;
    connection
}

const TOO_LARGE: usize = 256 * 1024;

#[tokio::test(start_paused = true)]
async fn a_target_that_answers_and_then_reads_no_more_is_left() {
    let (upstream, mut opened) = in_memory();
    let target = nowhere();
    let mut connection = answered_early(&upstream, &target, &mut opened).await;
    sleep(3 * target.idle_timeout).await;
    assert_eq!(connection.write(b"?").await.map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe), "nobody is there");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_answers_and_then_reads_on_gets_everything() {
    let (upstream, mut opened) = in_memory();
    let target = nowhere();
    let mut connection = answered_early(&upstream, &target, &mut opened).await;
    let mut spaces = 0;
    // For many times as long as it may stand still.
    while spaces < TOO_LARGE - 1024 {
        sleep(target.idle_timeout / 2).await;
        let mut read = [0; 8 * 1024];
        let read = within("more of it", connection.read(&mut read)).await.unwrap();
        assert!(read > 0, "cut after {spaces}");
        spaces += read;
    }
}
