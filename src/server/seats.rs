//! How many connections there may be: in all, and from one network.
//!
//! Once all seats are taken, a few more connections may stand: probes are answered there, and calls are told that there is no room,
//! which is kinder than silence. When nobody can stand any more, the kernel keeps who comes waiting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::identity::Network;

/// How many stand at most.
const STANDING: usize = 256;

pub(super) struct Seats {
    seats: Arc<Semaphore>,
    standing: Arc<Semaphore>,
    guests: Option<Arc<Guests>>,
    taken: Gauge,
}

/// Who sits, by network.
struct Guests {
    most: NonZeroUsize,
    /// Proxies bring the connections of many.
    trusted: Vec<IpNet>,
    /// As many entries as there are connections, at the most.
    seated: Mutex<HashMap<Network, usize>>,
}

/// Room for one more connection, whoever it is.
pub(super) struct Room(Manner, OwnedSemaphorePermit);

/// How a connection is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Seated,
    /// Its calls are told that there is no room.
    Standing,
}

/// Held for as long as the connection lasts.
pub(super) struct Seat {
    pub manner: Manner,
    _room: OwnedSemaphorePermit,
    _guest: Option<Guest>,
    _taken: Taken,
}

struct Guest {
    network: Network,
    among: Arc<Guests>,
}

struct Taken(Gauge);

impl Seats {
    /// For callers.
    pub fn public(seats: usize, most_of_one_network: NonZeroUsize, trusted: Vec<IpNet>, taken: Gauge) -> Self {
        let guests = Guests { most: most_of_one_network, trusted, seated: Mutex::default() };
        Self { seats: Arc::new(Semaphore::new(seats)), standing: Arc::new(Semaphore::new(STANDING)), guests: Some(Arc::new(guests)), taken }
    }

    /// For operators, who are few and share proxies.
    pub fn reserved(seats: usize) -> Self {
        Self { seats: Arc::new(Semaphore::new(seats)), standing: Arc::new(Semaphore::new(0)), guests: None, taken: Gauge::default() }
    }

    /// Waits for it. None once nobody is let in any more.
    pub async fn room(&self) -> Option<Room> {
        tokio::select! {
            biased;
            seat = Arc::clone(&self.seats).acquire_owned() => Some(Room(Manner::Seated, seat.ok()?)),
            stand = Arc::clone(&self.standing).acquire_owned() => Some(Room(Manner::Standing, stand.ok()?)),
        }
    }

    /// None if its network has all it may have.
    pub fn take(&self, room: Room, peer: IpAddr) -> Option<Seat> {
        let guest = match &self.guests {
            Some(guests) => guests.admit(peer.to_canonical())?,
            None => None,
        };
        // Somebody may have left since there was nothing but standing room.
        let Room(manner, room) = match Arc::clone(&self.seats).try_acquire_owned() {
            Ok(seat) if room.0 == Manner::Standing => Room(Manner::Seated, seat),
            Ok(_) | Err(_) => room,
        };
        self.taken.inc();
        Some(Seat { manner, _room: room, _guest: guest, _taken: Taken(self.taken.clone()) })
    }
}

impl Guests {
    /// `Some(None)`: nobody counts those.
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Option<Guest>> {
        if self.trusted.iter().any(|network| network.contains(&peer)) {
            return Some(None);
        }
        let network = Network::of(peer);
        let mut all = self.seated.lock().unwrap_or_else(PoisonError::into_inner);
        let seated = all.entry(network).or_default();
        if *seated >= self.most.get() {
            return None;
        }
        *seated += 1;
        Some(Some(Guest { network, among: Arc::clone(self) }))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.among.seated.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.get(&self.network).map_or(0, |seated| seated.saturating_sub(1));
        if left == 0 {
            all.remove(&self.network);
        } else {
            all.insert(self.network, left);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const HERE: &str = "192.0.2.7";

    fn seats(seats: usize, most: usize) -> Seats {
        Seats::public(seats, NonZeroUsize::new(most).unwrap(), vec!["10.0.0.0/8".parse().unwrap()], Gauge::default())
    }

    fn sit(seats: &Seats, peer: &str) -> Option<Seat> {
        seats.take(seats.room().now_or_never().flatten()?, peer.parse().unwrap())
    }

    #[test]
    fn when_all_seats_are_taken_some_stand_and_the_rest_waits() {
        let seats = seats(2, 1000);
        let mut all: Vec<_> = (0..2 + STANDING).map(|_| sit(&seats, HERE).unwrap()).collect();
        let standing = |all: &[Seat]| all.iter().filter(|seat| seat.manner == Manner::Standing).count();
        assert_eq!((standing(&all), seats.taken.get()), (STANDING, 258));
        assert!(seats.room().now_or_never().is_none());
        drop(all.remove(0));
        assert_eq!(sit(&seats, HERE).map(|seat| seat.manner), Some(Manner::Seated));
        drop(all);
        assert_eq!(seats.taken.get(), 0);
    }

    #[test]
    fn whoever_was_let_in_to_stand_sits_if_a_seat_is_free_by_then() {
        let seats = seats(1, 1000);
        let first = sit(&seats, HERE);
        let room = seats.room().now_or_never().flatten().unwrap();
        drop(first);
        assert_eq!(seats.take(room, HERE.parse().unwrap()).map(|seat| seat.manner), Some(Manner::Seated));
        assert_eq!(seats.standing.available_permits(), STANDING);
    }

    #[test]
    fn one_network_gets_its_share_and_a_trusted_proxy_whatever_it_wants() {
        let seats = seats(100, 2);
        let held = [sit(&seats, HERE).unwrap(), sit(&seats, "::ffff:192.0.2.200").unwrap()];
        assert!(sit(&seats, "192.0.2.8").is_none(), "the same network");
        let other = sit(&seats, "192.0.3.7").unwrap();
        let proxied: Vec<_> = (0..5).map(|_| sit(&seats, "10.1.2.3").unwrap()).collect();
        assert_eq!(seats.seats.available_permits(), 100 - 8, "whoever was sent away holds nothing");
        drop(held);
        assert!(sit(&seats, "192.0.2.8").is_some());
        drop((other, proxied));
        assert!(seats.guests.as_ref().unwrap().seated.lock().unwrap().is_empty(), "nothing is kept of those who left");
    }
}
