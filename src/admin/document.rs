//! The description of the ops listener, OpenAPI 3.1. Routes describe themselves; here is what they have in common.

use axum::extract::Extension;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Info, OpenApi, OpenApiBuilder, PathItem, SecurityRequirement};
use utoipa::{PartialSchema, ToSchema};

use super::refused::described;
use crate::reply::Problem;

const TOKEN: &str = "admin_token";

/// The description as it is sent.
#[derive(Clone)]
pub struct Text(Bytes);

impl Text {
    pub fn of(description: &OpenApi) -> Self {
        // Plain text and numbers, which JSON can always say.
        Self(serde_json::to_vec(description).unwrap_or_default().into())
    }
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getDescription", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value))
)]
pub async fn show(Extension(Text(text)): Extension<Text>) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], text).into_response()
}

/// `guarded`: what wants the token, and so may be refused for want of it.
pub fn of(mut guarded: OpenApi, open: OpenApi) -> OpenApi {
    guarded.paths.paths.values_mut().flat_map(operations).for_each(guard);
    let mut info = Info::new("eliza-gatekeeper", env!("CARGO_PKG_VERSION"));
    info.description = Some("The ops listener: admin API, metrics, health. Every answer carries `x-call-id`.".into());
    let mut components = Components::new();
    components.schemas.insert(Problem::name().into(), Problem::schema());
    components.add_security_scheme(TOKEN, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let mut whole = OpenApiBuilder::new().info(info).components(Some(components)).build();
    whole.merge(guarded);
    whole.merge(open);
    whole
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.post, &mut path.put, &mut path.delete, &mut path.patch].into_iter().filter_map(Option::as_mut)
}

/// What the guard, and the reading of a request, may refuse.
fn guard(operation: &mut Operation) {
    operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]);
    let refusals = &mut operation.responses.responses;
    refusals.extend([
        described("400", "`invalid_request` (or `invalid_json`, `ambiguous_body`, `body_broken`): the message names what is wrong.", None),
        described("401", "`unauthorized`: no token, or a wrong one.", Some("WWW-Authenticate")),
        described("403", "`admin_api_off`: the gatekeeper was started without an admin token.", None),
    ]);
    if operation.request_body.is_none() {
        return;
    }
    refusals.extend([
        described("408", "`body_too_slow`", None),
        described("413", "`body_too_large`", None),
        described("415", "`unsupported_encoding`: bodies come without a content-encoding.", None),
    ]);
    let overloaded = described(
        "503",
        "`overloaded`: too many bodies at once. `database_away`, `database_refused`, where one is needed.",
        Some("Retry-After"),
    );
    refusals.extend([overloaded]);
}
