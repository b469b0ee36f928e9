//! The body of an answer, in whose pieces it shows how far the caller has taken it, and whose end is the call's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::presence::UnderWay;

/// A frame of data is handed out in pieces of at most this: hyper asks for more once it has room for more, and so it is known how far the
/// caller is.
const PIECE: usize = 64 * 1024;

pin_project! {
    /// An answer's body, with the call that it ends.
    pub(super) struct Ending<B> {
        #[pin]
        body: B,
        // Of the last frame, what was not handed out yet.
        rest: Bytes,
        call: UnderWay,
    }
}

impl UnderWay {
    pub fn until_the_end_of<B>(self, body: B) -> Ending<B> {
        Ending { body, rest: Bytes::new(), call: self }
    }
}

impl<B: Body<Data = Bytes>> Body for Ending<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        this.call.is_taken();
        let frame = if this.rest.is_empty() { ready!(this.body.poll_frame(cx)) } else { Some(Ok(Frame::data(std::mem::take(this.rest)))) };
        let frame = frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|mut data| {
                    *this.rest = data.split_off(data.len().min(PIECE));
                    data
                })
            })
        });
        if frame.is_some() {
            this.call.is_handed_out();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let (of_body, mut hint) = (self.body.size_hint(), SizeHint::default());
        hint.set_lower(of_body.lower().saturating_add(rest));
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::presence::Presence;
    use http::Version;
    use http_body_util::{BodyExt, Full};
    use std::pin::pin;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_long_frame_goes_out_in_pieces_and_whole() {
        let long: Vec<u8> = (0..=u8::MAX).cycle().take(200_000).collect();
        let mut body = pin!(Presence::begin(Arc::default()).call(Version::HTTP_11).until_the_end_of(Full::new(Bytes::from(long.clone()))));
        let mut got = Vec::new();
        while got.len() < long.len() {
            assert!(!body.is_end_stream());
            assert_eq!(body.size_hint().exact(), Some((long.len() - got.len()) as u64));
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            got.extend_from_slice(&piece);
        }
        assert!(got == long && body.is_end_stream());
    }
}
