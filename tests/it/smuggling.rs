//! No bytes, however strange, become two requests where one was judged: each is refused, or goes on as one request that can be read in
//! one way only. What follows on the connection is judged by itself; the gatekeeper's key and the caller's tricks stay here. The same
//! for answers: nobody gets another's. Every table holds for each door.

mod addresses;
mod answers;
mod connections;
mod framing;
mod headers;
mod http2;
mod world;
