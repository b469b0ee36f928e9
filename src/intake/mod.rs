//! Reading a body: whole, once, bounded in size, in time, and in the memory that all bodies under way take together.

mod encoding;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::verdict::Failure;

pub use encoding::Encodings;

/// What the memory budget is counted in, so that a small call takes one permit and a large one few.
pub const MEMORY_UNIT: usize = 16 * 1024;

/// A body that was read, and its share of the memory; whoever takes it holds that until the body has been sent on.
#[derive(Debug)]
pub struct Taken {
    pub bytes: Bytes,
    /// What came behind it.
    pub trailers: Option<HeaderMap>,
    pub memory: Option<OwnedSemaphorePermit>,
}

/// Reads a body that has to come without an encoding.
pub async fn read_body<B: Body>(
    headers: &HeaderMap,
    body: B,
    max_bytes: usize,
    within: Duration,
    memory: &Arc<Semaphore>,
) -> Result<Taken, Failure> {
    if !is_plain(headers) {
        return Err(Failure::UnsupportedEncoding { accepted: "identity" });
    }
    read_as_it_is(headers, body, max_bytes, within, memory).await
}

/// A body as it came, and what has to be taken off it before anybody reads it.
#[derive(Debug)]
pub struct Encoded {
    pub taken: Taken,
    pub encodings: Encodings,
}

/// Reads a body that may come in any of the encodings that are understood.
pub async fn read_encoded<B: Body>(
    headers: &HeaderMap,
    body: B,
    max_bytes: usize,
    within: Duration,
    memory: &Arc<Semaphore>,
) -> Result<Encoded, Failure> {
    let encodings = Encodings::of(headers)?;
    Ok(Encoded { taken: read_as_it_is(headers, body, max_bytes, within, memory).await?, encodings })
}

async fn read_as_it_is<B: Body>(
    headers: &HeaderMap,
    body: B,
    max_bytes: usize,
    within: Duration,
    memory: &Arc<Semaphore>,
) -> Result<Taken, Failure> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > max_bytes) {
        return Err(Failure::BodyTooLarge { limit: max_bytes });
    }
    timeout(within, collect(body, max_bytes, memory)).await.unwrap_or(Err(Failure::BodyTooSlow))
}

/// Whether a body is what its bytes say, with no encoding over it.
pub fn is_plain(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|encoding| encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

async fn collect<B: Body>(body: B, max_bytes: usize, memory: &Arc<Semaphore>) -> Result<Taken, Failure> {
    let mut body = pin!(body);
    let mut budget = Budget::of(memory);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let mut data = match frame.map_err(|_| Failure::BodyBroken)?.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                continue;
            }
        };
        let size = first.len() + rest.len() + data.remaining();
        if size > max_bytes {
            return Err(Failure::BodyTooLarge { limit: max_bytes });
        }
        budget.cover(size)?;
        if first.is_empty() && rest.is_empty() {
            first = data.copy_to_bytes(data.remaining());
            continue;
        }
        if rest.is_empty() {
            // Room for what was announced is taken as it arrives: announcing costs nothing.
            rest.reserve(size);
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Taken { bytes, trailers, memory: budget.held })
}

/// Lets what is left of a refused call's body run out, behind its answer.
pub fn see_off<B>(mut body: B)
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    if body.is_end_stream() {
        return;
    }
    // Most are here already, in one piece, and need no task.
    let first = body.frame().now_or_never();
    if !body.is_end_stream() && !matches!(first, Some(None | Some(Err(_)))) {
        tokio::spawn(let_run_out(body));
    }
}

/// What of a refused call's body is still on its way is let in and thrown away, up to a bound: closing the connection on it could cost
/// the caller the answer that says why.
pub async fn let_run_out<B: Body + Unpin>(mut body: B) {
    const MOST: usize = 1024 * 1024;
    const LONGEST: Duration = Duration::from_secs(2);
    let run = async {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Buf::remaining);
            if seen > MOST {
                return;
            }
        }
    };
    // When the time is over the connection closes, as it would have at once.
    let _over = timeout(LONGEST, run).await;
}

/// The share of the common memory that one body holds; it only grows, and never waits for more.
struct Budget<'a> {
    memory: &'a Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    units: usize,
}

impl<'a> Budget<'a> {
    const fn of(memory: &'a Arc<Semaphore>) -> Self {
        Self { memory, held: None, units: 0 }
    }

    fn cover(&mut self, bytes: usize) -> Result<(), Failure> {
        let needed = bytes.div_ceil(MEMORY_UNIT);
        let Some(more) = needed.checked_sub(self.units).filter(|more| *more > 0) else { return Ok(()) };
        let more = u32::try_from(more).map_err(|_| Failure::Overloaded)?;
        let permit = Arc::clone(self.memory).try_acquire_many_owned(more).map_err(|_| Failure::Overloaded)?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        self.units = needed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use std::convert::Infallible;
    use std::sync::LazyLock;

    static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

    fn chunks(parts: &'static [&'static str]) -> impl Body<Data = Bytes, Error = Infallible> {
        StreamBody::new(stream::iter(parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))))))
    }

    async fn read(headers: HeaderMap, parts: &'static [&'static str], max: usize, memory: usize) -> Result<Bytes, Failure> {
        let memory = Arc::new(Semaphore::new(memory));
        read_body(&headers, chunks(parts), max, Duration::from_secs(5), &memory).await.map(|taken| taken.bytes)
    }

    fn header(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[tokio::test]
    async fn a_body_is_put_together_up_to_the_bound_and_not_beyond() {
        assert_eq!(read(HeaderMap::new(), &["ab", "cd", "e"], 5, 1).await, Ok(Bytes::from_static(b"abcde")));
        assert_eq!(read(HeaderMap::new(), &["ab", "cd", "ef"], 5, 1).await, Err(Failure::BodyTooLarge { limit: 5 }));
        assert_eq!(read(HeaderMap::new(), &[], 5, 1).await, Ok(Bytes::new()));
        assert_eq!(read(header(CONTENT_LENGTH, "6"), &[], 5, 1).await, Err(Failure::BodyTooLarge { limit: 5 }));
    }

    #[tokio::test]
    async fn an_encoding_that_cannot_be_judged_is_refused() {
        assert_eq!(read(header(CONTENT_ENCODING, "gzip"), &["x"], 5, 1).await, Err(Failure::UnsupportedEncoding { accepted: "identity" }));
        assert_eq!(read(header(CONTENT_ENCODING, "Identity"), &["x"], 5, 1).await, Ok(Bytes::from_static(b"x")));
    }

    #[tokio::test]
    async fn bodies_share_one_budget() {
        let memory = Arc::new(Semaphore::new(2));
        let read = || read_body(&NO_HEADERS, Full::new(Bytes::from(vec![b'a'; 20_000])), 100_000, Duration::from_secs(5), &memory);
        let first = read().await.unwrap();
        assert_eq!(read().await.map(|_| ()), Err(Failure::Overloaded));
        drop(first);
        assert!(read().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up() {
        let stuck = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let memory = Arc::new(Semaphore::new(1));
        let read = read_body(&HeaderMap::new(), stuck, 10, Duration::from_secs(30), &memory).await;
        assert_eq!(read.map(|_| ()), Err(Failure::BodyTooSlow));
        assert_eq!(memory.available_permits(), 1);
    }
}
