//! What stands before every admin route, addresses that nothing answers at included: without the token nobody learns which there are.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, AUTHORIZATION};
use http::{HeaderMap, HeaderValue};

use super::refused::Refused;
use crate::doors::{Arrival, whole};
use crate::gatekeeper::Gatekeeper;
use crate::identity::KeyHash;
use crate::intake::see_off;

/// What is nowhere else: all of the admin API, and what is nowhere at all.
pub fn stands_before(path: &str) -> bool {
    path == "/api/admin" || path.starts_with("/api/admin/")
}

/// Lets in whoever holds the admin token, and puts whatever is refused behind it into the form of every refusal.
pub async fn guard(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
    next: Next,
) -> Response {
    let checked = match stands_before(request.uri().path()) {
        true => check(gatekeeper.pipeline.live.current().admin_token, request.headers()),
        false => Err(Refused::Nowhere),
    };
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refused) => {
            see_off(request.into_body());
            refused.into_response()
        }
    };
    match response.extensions_mut().remove::<Refused>() {
        Some(refused) => whole(refused.answer(response.headers_mut().remove(ALLOW), arrival.id)),
        None => response,
    }
}

/// By its hash, so that the time it takes says nothing about the token.
fn check(token: Option<KeyHash>, headers: &HeaderMap) -> Result<(), Refused> {
    let token = token.ok_or(Refused::Off)?;
    let shown = headers.get(AUTHORIZATION).and_then(bearer).map(|shown| KeyHash::of(shown.as_bytes()));
    if shown == Some(token) { Ok(()) } else { Err(Refused::Unauthorized) }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub async fn nowhere() -> Refused {
    Refused::Nowhere
}

/// The router adds what the address does answer.
pub async fn wrong_method() -> Refused {
    Refused::WrongMethod
}
