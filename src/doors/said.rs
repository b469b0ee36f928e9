//! The body of an answer, as the server gets it: without a box around the ones that nearly every answer has.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

use crate::record::Recorded;
use crate::upstream::AnswerBody;

pin_project! {
    #[project = Project]
    pub enum Said {
        /// A target's, as it comes.
        Target {
            #[pin]
            body: Recorded<AnswerBody>,
        },
        /// Whole, and a call's.
        Whole {
            #[pin]
            body: Recorded<Full<Bytes>>,
        },
        /// No call's.
        Other {
            #[pin]
            body: Body,
        },
    }
}

/// An answer that is made.
pub struct Begun {
    pub response: Response<Said>,
    /// Nothing is left of its body to hold back until its record is kept, so all of it waits for this.
    pub until: Option<BoxFuture<'static, ()>>,
}

impl Begun {
    /// The answer once it may go out.
    pub async fn there(self) -> Response<Said> {
        if let Some(until) = self.until {
            until.await;
        }
        self.response
    }
}

impl Said {
    pub fn nothing() -> Self {
        Self::from(Body::empty())
    }
}

impl From<Recorded<AnswerBody>> for Said {
    fn from(body: Recorded<AnswerBody>) -> Self {
        Self::Target { body }
    }
}

impl From<Recorded<Full<Bytes>>> for Said {
    fn from(body: Recorded<Full<Bytes>>) -> Self {
        Self::Whole { body }
    }
}

impl From<Body> for Said {
    fn from(body: Body) -> Self {
        Self::Other { body }
    }
}

impl http_body::Body for Said {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project() {
            Project::Target { body } => body.poll_frame(cx).map_err(Into::into),
            Project::Whole { body } => body.poll_frame(cx).map_err(Into::into),
            Project::Other { body } => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Target { body } => body.is_end_stream(),
            Self::Whole { body } => body.is_end_stream(),
            Self::Other { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Target { body } => body.size_hint(),
            Self::Whole { body } => body.size_hint(),
            Self::Other { body } => body.size_hint(),
        }
    }
}
