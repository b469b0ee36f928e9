//! That connections rest, and when: nobody outside is to notice, so it is looked at here.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use bytes::BytesMut;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

use super::*;
use crate::server::leaving::Exit;
use crate::server::pace::Paced;
use crate::server::presence::Limits;

const LIMITS: Limits = Limits { head: Duration::from_secs(30), idle: Duration::from_secs(75), taking: Duration::from_secs(60) };
const PATIENCE: Patience = Patience { write: Duration::from_secs(60), idle: STILL };
const CALL: &str = "GET / HTTP/1.1\r\n\r\n";
const LONG: Duration = Duration::from_secs(10);

/// One of hyper's, whatever it serves, and how often it was driven.
struct Plain<C> {
    connection: C,
    driven: Arc<AtomicUsize>,
}

impl<C: Future<Output = Served> + Unpin> Future for Plain<C> {
    type Output = Served;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Served> {
        self.driven.fetch_add(1, Relaxed);
        Pin::new(&mut self.get_mut().connection).poll(cx)
    }
}

impl<C: Future<Output = Served> + Unpin> Conversation for Plain<C> {
    fn leave(self: Pin<&mut Self>) {}
}

/// What became of a connection, and when.
type Became = (Result<Option<()>, Cut>, Duration);

/// Of one on which a peer does this. Calls are answered after [`LONG`]; what is left of their bodies then is let run out, for as long again.
async fn served(room: usize, peer: impl AsyncFnOnce(&mut DuplexStream)) -> Became {
    served_counting(room, Arc::default(), peer).await
}

async fn served_counting(room: usize, driven: Arc<AtomicUsize>, peer: impl AsyncFnOnce(&mut DuplexStream)) -> Became {
    let (ours, mut theirs) = duplex(room);
    // As of a connection's reception, there is one for all calls.
    let presence = Arc::new(Presence::begin(Arc::default()));
    let watched = Watched::new(ours, Bytes::new(), Presence::clone(&presence), None, PATIENCE, ());
    let service = service_fn(|request: Request<Incoming>| {
        let under_way = presence.call(request.version());
        let mut body = Paced::new(request.into_body(), None, Presence::clone(&presence));
        async move {
            sleep(LONG).await;
            tokio::spawn(async move { timeout(LONG, body.frame()).await.is_ok() });
            Ok::<_, Infallible>(Response::new(under_way.until_the_end_of(Full::new(Bytes::from_static(b"answered")))))
        }
    });
    let mut connection = Plain { connection: http1().serve_connection(TokioIo::new(watched), service), driven };
    let exit = Exit::new();
    let mut attention = Attention::begin(exit.guest(), Presence::clone(&presence), LIMITS);
    let began = Instant::now();
    let attended = async {
        let attended = attend(Pin::new(&mut connection), &presence, &mut attention, Rests::AfterCalls).await;
        (attended.map(|served| served.map(|served| served.unwrap())), began.elapsed())
    };
    let (attended, ()) = tokio::join!(timeout(Duration::from_secs(1000), attended), peer(&mut theirs));
    attended.expect("it rests, or it ends")
}

async fn hear_answer(line: &mut DuplexStream) {
    let mut heard = BytesMut::new();
    while !heard.ends_with(b"answered") {
        assert!(line.read_buf(&mut heard).await.unwrap() > 0, "{heard:?}");
    }
}

/// Soon after this it rests.
#[track_caller]
fn rested((what, after): Became, last: Duration) {
    assert_eq!(what, Ok(None));
    assert!((100..300).contains(&after.saturating_sub(last).as_millis()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_rests_soon_after_its_last_call() {
    let once = served(1024, async |line| line.write_all(CALL.as_bytes()).await.unwrap());
    rested(once.await, LONG);
    let two_at_once = served(1024, async |line| line.write_all(CALL.repeat(2).as_bytes()).await.unwrap());
    rested(two_at_once.await, 2 * LONG);
    let again_and_again = served(1024, async |line| {
        for _ in 0..3 {
            line.write_all(CALL.as_bytes()).await.unwrap();
            hear_answer(line).await;
            sleep(Duration::from_millis(50)).await;
        }
    });
    rested(again_and_again.await, 3 * LONG + Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_connection_does_not_rest_while_anything_of_a_call_is_under_way() {
    let body_to_come = served(1024, async |line| line.write_all(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n").await.unwrap());
    // hyper ends a connection on which the rest of a body will not be read.
    assert_eq!(body_to_come.await, (Ok(Some(())), 2 * LONG));
    let answer_not_taken = served(64, async |line| {
        line.write_all(CALL.as_bytes()).await.unwrap();
        sleep(3 * LONG).await;
        hear_answer(line).await;
    });
    rested(answer_not_taken.await, 3 * LONG);
    let half_a_head = served(1024, async |line| {
        line.write_all(CALL.as_bytes()).await.unwrap();
        hear_answer(line).await;
        line.write_all(b"GET / HT").await.unwrap();
        sleep(6 * LONG).await;
    });
    assert_eq!(half_a_head.await, (Err(Cut::SlowHead), LONG + LIMITS.head));
    let none_yet = served(1024, async |_| sleep(6 * LONG).await);
    assert_eq!(none_yet.await, (Err(Cut::SlowHead), LIMITS.head));
}

/// Many may stand still like this.
#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_its_peer_is_hardly_driven_meanwhile() {
    let driven = Arc::<AtomicUsize>::default();
    let meanwhile = served_counting(64, Arc::clone(&driven), async |line| {
        line.write_all(CALL.as_bytes()).await.unwrap();
        sleep(LONG).await;
        sleep(Duration::from_secs(1)).await;
        let before = driven.load(Relaxed);
        sleep(2 * LONG).await;
        // Its bounds are looked at meanwhile.
        assert!(driven.load(Relaxed) < before + 5);
        hear_answer(line).await;
    });
    rested(meanwhile.await, 3 * LONG + Duration::from_secs(1));
}
