//! The ops listener's table of contents: what operators and their machines look at. Never answers with CORS headers.
//!
//! Metrics, probes and the description are open to whoever reaches this listener, which is loopback unless the operator says otherwise;
//! everything under `/api/admin` wants the admin token, and without one configured it is off.

mod audit;
mod blocks;
mod breakers;
mod calls;
mod document;
mod enforcement;
mod entries;
mod explain;
mod flags;
mod guard;
mod limits;
mod log;
mod members;
mod metrics;
mod policy;
mod refused;
mod request;
mod said;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::Extension;
use axum::middleware::from_fn_with_state;
use http::Method;
use tower::Layer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::doors::probes::{self, Reader};
use crate::gatekeeper::Gatekeeper;

/// What wants the admin token. Each line is a route and its description.
fn guarded() -> OpenApiRouter<Arc<Gatekeeper>> {
    OpenApiRouter::default()
        .routes(routes!(enforcement::show, enforcement::change))
        .routes(routes!(policy::status))
        .routes(routes!(policy::show))
        .routes(routes!(policy::reload))
        .routes(routes!(flags::list, flags::set))
        .routes(routes!(blocks::list, blocks::add))
        .routes(routes!(blocks::remove))
        .routes(routes!(limits::list))
        .routes(routes!(limits::clear))
        .routes(routes!(log::show, log::change))
        .routes(routes!(audit::list))
        .routes(routes!(calls::list))
        .routes(routes!(calls::show))
        .routes(routes!(explain::explain))
        .routes(routes!(entries::auto_fixes))
        .routes(routes!(entries::bypasses, entries::log_bypass))
        .routes(routes!(entries::review))
        .routes(routes!(breakers::list))
}

/// What is open to whoever reaches this listener.
fn open() -> OpenApiRouter<Arc<Gatekeeper>> {
    OpenApiRouter::default().routes(routes!(document::show)).routes(routes!(metrics::show)).merge(probes::routes(Reader::Operator))
}

/// The description of all of it.
pub fn description() -> OpenApi {
    document::of(guarded().into_openapi(), open().into_openapi())
}

pub fn router(gatekeeper: Arc<Gatekeeper>) -> Router {
    let guarded: Router = Router::from(guarded())
        .fallback(guard::nowhere)
        .method_not_allowed_fallback(guard::wrong_method)
        .layer(Extension(request::Memory::default()))
        .with_state(Arc::clone(&gatekeeper));
    // Around the router and not on its routes: what a router says by itself, as which methods there are, is kept back too.
    let guarded = from_fn_with_state(Arc::clone(&gatekeeper), guard::guard).layer(guarded);
    Router::from(open())
        .method_not_allowed_fallback(probes::wrong_method)
        .layer(Extension(document::Text::of(&description())))
        .fallback_service(guarded)
        .with_state(gatekeeper)
}

/// Where both planes share a port: which requests are for this one. Probes are the same on both.
pub fn is_ops(method: &Method, path: &str) -> bool {
    let page = path == "/" && (*method == Method::GET || *method == Method::HEAD);
    page || guard::stands_before(path) || path == "/metrics" || path == "/openapi.json" || path.starts_with("/api/ops/")
}
