//! How much the log says.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::request::{By, Json, Nothing, Query};
use super::said::{Answer, Said};
use crate::gatekeeper::Gatekeeper;

#[derive(Serialize, ToSchema)]
pub struct LogLevel {
    level: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogOrder {
    level: Level,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// From which level on the log is written.
#[utoipa::path(
    get, path = "/api/admin/log-level", operation_id = "getLogLevel", tag = "log",
    responses((status = 200, description = "The level.", body = LogLevel))
)]
pub async fn show(State(gatekeeper): State<Arc<Gatekeeper>>, _: Query<Nothing>) -> Said<LogLevel> {
    Ok(Answer::Ok(LogLevel { level: gatekeeper.control.log_level() }))
}

/// Changes it, until the gatekeeper is started again.
#[utoipa::path(
    put, path = "/api/admin/log-level", operation_id = "setLogLevel", tag = "log", params(By), request_body = LogOrder,
    responses((status = 200, description = "The level now.", body = LogLevel))
)]
pub async fn change(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    By(actor): By,
    _: Query<Nothing>,
    Json { value: order, .. }: Json<LogOrder>,
) -> Said<LogLevel> {
    let level = gatekeeper.control.set_log_level(order.level.as_str(), &actor).await?;
    Ok(Answer::Ok(LogLevel { level }))
}
