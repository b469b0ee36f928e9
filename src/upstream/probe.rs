//! Looking whether a target is there, at the address that policy names for it: no credentials, no call, and nothing the breaker hears of.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};

use super::client::Upstream;
use super::upload::RequestBody;
use crate::policy::Link;

/// A target that takes longer to say that it is well is not.
const PATIENCE: Duration = Duration::from_secs(2);

impl Upstream {
    /// Whether an answer came in time that speaks of no error. What it says beyond that is not read.
    pub async fn is_up(&self, link: &Link, address: &Uri) -> bool {
        let mut request = Request::new(RequestBody::whole(Bytes::new()));
        *request.uri_mut() = address.clone();
        match tokio::time::timeout(PATIENCE, self.clients.of(link).request(request)).await {
            Ok(Ok(answer)) => answer.status().is_success() || answer.status().is_redirection(),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
