//! Answers that are no refusals.

use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::refused::Refused;
use crate::doors::whole;
use crate::reply::json_answer;

/// What a handler comes to.
pub type Said<T> = Result<Answer<T>, Refused>;

pub enum Answer<T> {
    Ok(T),
    Created(T),
    Gone,
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match self {
            Self::Ok(value) => whole(json_answer(StatusCode::OK, HeaderMap::new(), &value)),
            Self::Created(value) => whole(json_answer(StatusCode::CREATED, HeaderMap::new(), &value)),
            Self::Gone => (StatusCode::NO_CONTENT, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response(),
        }
    }
}
