//! The client of a running gatekeeper: its admin API, as the commands use it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::settings::Environment;

/// Where the gatekeeper of this environment listens for operators; an address for all interfaces is asked on loopback.
pub fn environment_url(environment: &Environment<'_>) -> Result<String, String> {
    let listen = environment.variable("GATEKEEPER_OPS_LISTEN").unwrap_or_default();
    let mut listen: SocketAddr =
        listen.parse().map_err(|_| "GATEKEEPER_OPS_LISTEN must be an address and a port, such as 127.0.0.1:9090".to_owned())?;
    if listen.ip().is_unspecified() {
        listen.set_ip(if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    Ok(format!("http://{listen}"))
}
