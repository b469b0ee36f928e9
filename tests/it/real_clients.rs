//! Programs that people use, against the gatekeeper on real sockets: streams of events arrive as they are said, WebSockets pass as if
//! nobody stood between, and a hundred HTTP/2 calls share one connection.

mod http2;
mod server_sent_events;
mod websocket;
