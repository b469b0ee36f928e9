//! What systemd and the process tell each other: sockets that it listens on and passes (`LISTEN_FDS`), which outlive the process, so that
//! a restart refuses nobody; and back, that calls are taken (`NOTIFY_SOCKET`).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use listenfd::ListenFd;

use super::listeners::{Given, Plane};

/// More than we have use for, and few enough to tell them.
const MOST: usize = 16;

/// What systemd passed, if it passed anything.
pub struct Inherited(ListenFd);

impl Inherited {
    /// Takes the sockets, and the variables that speak of them: no child of ours is to take them for its own. To be called while there is
    /// one thread, for the environment is not for several to change.
    pub fn take() -> Self {
        let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        // They are meant for the process of this number, and for no other that inherits its environment.
        let is_ours = variable("LISTEN_PID") == Some(u64::from(std::process::id()));
        let is_sane = variable("LISTEN_FDS").is_some_and(|count| count <= MOST as u64);
        Self(if is_ours && is_sane { ListenFd::from_env() } else { ListenFd::empty() })
    }

    pub fn none() -> Self {
        Self(ListenFd::empty())
    }

    pub(super) fn sockets(mut self) -> io::Result<Vec<Given>> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let planes = planes(self.0.len(), &names).map_err(io::Error::other)?;
        let mut given = Vec::new();
        for (at, plane) in planes.into_iter().enumerate() {
            let Some(socket) = self.0.take_tcp_listener(at)? else { continue };
            given.push(Given { plane, socket });
        }
        Ok(given)
    }
}

/// Who started the process and wants to know how it goes, if anybody does.
pub struct Supervisor(Option<SocketAddr>);

impl Supervisor {
    pub fn of_this_process() -> Self {
        let address = std::env::var("NOTIFY_SOCKET").ok().and_then(|place| match place.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(&place).ok(),
        });
        Self(address)
    }

    /// Calls are taken from now on.
    pub fn hears_ready(&self) {
        self.hears("READY=1");
    }

    /// No more are taken.
    pub fn hears_stopping(&self) {
        self.hears("STOPPING=1");
    }

    fn hears(&self, what: &str) {
        let Some(address) = &self.0 else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to_addr(what.as_bytes(), address)
        });
        if let Err(error) = sent {
            tracing::warn!(%error, "who started this process cannot be told how it goes");
        }
    }
}

/// Whose each socket is: by its name if that is `data` or `ops`, else the first is for calls and the second for operators.
fn planes(count: usize, names: &str) -> Result<Vec<Plane>, String> {
    let names: Vec<&str> = names.split(':').collect();
    let named = |at: usize| match names.get(at) {
        Some(&"data") => Some(Plane::Data),
        Some(&"ops") => Some(Plane::Ops),
        _ => None,
    };
    let in_order = [Plane::Data, Plane::Ops].into_iter().map(Some).chain(std::iter::repeat(None));
    let planes: Option<Vec<Plane>> = in_order.take(count).enumerate().map(|(at, by_order)| named(at).or(by_order)).collect();
    match planes.as_deref() {
        Some([] | [Plane::Data] | [Plane::Data, Plane::Ops] | [Plane::Ops, Plane::Data]) => Ok(planes.unwrap_or_default()),
        _ => Err(format!(
            "LISTEN_FDS: {count} sockets were passed, named {names:?}: there must be one for calls, named data, and at most one for operators, named ops"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart_by_name_or_else_by_order() {
        use Plane::{Data, Ops};
        let cases: &[(usize, &str, Option<&[Plane]>)] = &[
            (0, "", Some(&[])),
            (1, "", Some(&[Data])),
            (1, "gatekeeper.socket", Some(&[Data])),
            (1, "data", Some(&[Data])),
            (1, "ops", None),
            (2, "data:ops", Some(&[Data, Ops])),
            (2, "ops:data", Some(&[Ops, Data])),
            (2, "gatekeeper.socket:gatekeeper.socket", Some(&[Data, Ops])),
            (2, "", Some(&[Data, Ops])),
            (2, "data:data", None),
            (2, "ops:other", None),
            (3, "data:ops:metrics", None),
            (3, "", None),
        ];
        for (count, names, expected) in cases {
            assert_eq!(planes(*count, names).ok().as_deref(), *expected, "{count} {names:?}");
        }
    }
}
