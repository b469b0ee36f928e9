//! Every way the admin API says no, and how each is described.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use utoipa::IntoResponses;
use utoipa::openapi::{Content, Header, Object, Ref, RefOr, ResponseBuilder, Type};

use crate::control::ControlError;
use crate::identity::CallId;
use crate::reply::{self, Answer, OpsRefusal};
use crate::verdict::Failure;

/// Travels in the answer's extensions up to the guard, which knows the id that every refusal names.
#[derive(Clone, Debug)]
pub enum Refused {
    /// No admin token is configured.
    Off,
    Unauthorized,
    /// What was asked for makes no sense; the words are for whoever asked.
    Invalid(String),
    /// As on the way of a call: bodies that are no JSON, too large, too slow.
    Failed(Failure),
    NotFound(&'static str),
    Nowhere,
    WrongMethod,
    /// The policies that should come into force, and all that is wrong with them.
    PolicyInvalid(Vec<String>),
    Away,
    ByDatabase,
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Away => Self::Away,
            ControlError::Invalid(why) => Self::Invalid(why),
            ControlError::Refused => Self::ByDatabase,
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

impl Refused {
    /// `allow`: what the router says the address answers.
    pub fn answer(self, allow: Option<HeaderValue>, id: CallId) -> Answer {
        let mut headers = HeaderMap::new();
        let (status, code, error, message) = match &self {
            Self::Off => (
                StatusCode::FORBIDDEN,
                "admin_api_off",
                "Forbidden",
                "The admin API is off: set GATEKEEPER_ADMIN_TOKEN to use it".to_owned(),
            ),
            Self::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                (StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", "Send the admin token as Authorization: Bearer".to_owned())
            }
            Self::Invalid(why) => (StatusCode::BAD_REQUEST, "invalid_request", "Invalid request", why.clone()),
            Self::Failed(failure) => return reply::refusal(&failure.clone().into(), id),
            Self::NotFound(what) => (StatusCode::NOT_FOUND, "not_found", "Not found", (*what).to_owned()),
            Self::Nowhere => return reply::no_such_address(id),
            Self::WrongMethod => {
                let answers = allow.as_ref().and_then(|allow| allow.to_str().ok()).unwrap_or_default().replace(',', ", ");
                headers.extend(allow.map(|allow| (ALLOW, allow)));
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", format!("This address answers {answers}"))
            }
            Self::PolicyInvalid(_) => {
                let message = "The policies have problems, so those in force stay".to_owned();
                (StatusCode::UNPROCESSABLE_ENTITY, "policy_invalid", "Invalid policy", message)
            }
            Self::Away => {
                headers.insert(RETRY_AFTER, HeaderValue::from(1));
                let message = "The database is away, and this cannot be done without it; try again shortly".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "database_away", "Database away", message)
            }
            Self::ByDatabase => {
                let message = "The database refused; why is in the gatekeeper's log".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "database_refused", "Database refused", message)
            }
        };
        let problems = match &self {
            Self::PolicyInvalid(problems) => problems.as_slice(),
            _ => &[],
        };
        reply::ops_refusal(OpsRefusal { status, code, error, message, headers, problems }, id)
    }
}

type Described = BTreeMap<String, RefOr<utoipa::openapi::Response>>;

/// One refusal, as a description of an operation names it.
pub fn described(status: &str, says: &str, header: Option<&str>) -> (String, RefOr<utoipa::openapi::Response>) {
    let content = Content::new(Some(Ref::from_schema_name("Problem")));
    let mut response = ResponseBuilder::new().description(says).content("application/json", content);
    if let Some(header) = header {
        response = response.header(header, Header::new(Object::with_type(Type::String)));
    }
    (status.to_owned(), response.build().into())
}

macro_rules! described {
    ($(#[doc = $doc:literal])* $name:ident, $status:literal $(, $header:literal)?) => {
        $(#[doc = $doc])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> Described {
                Described::from([described($status, concat!($($doc),*).trim(), None$(.or(Some($header)))?)])
            }
        }
    };
}

described! {
    /// Nothing goes by this id.
    NotFound, "404"
}
described! {
    /// `policy_invalid`: `problems` says all that is wrong, with file and line. What was in force stays.
    PolicyInvalid, "422"
}
described! {
    /// `database_away` or `database_refused`: this cannot be done without the database.
    NeedsDatabase, "503", "Retry-After"
}
