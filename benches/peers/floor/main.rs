//! The floor of the side-by-side run: a proxy of the same HTTP library that checks nothing, records nothing and streams.
//! What a gatekeeper of this library costs beyond it is its own doing. `floor PORT TARGET`

use std::process::ExitCode;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

type Towards = Client<HttpConnector, Incoming>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("floor: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("floor PORT TARGET".into());
    };
    let (port, target) = (port.parse::<u16>()?, target.parse::<Authority>()?);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(port, target))
}

async fn serve(port: u16, target: Authority) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Towards = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_max_idle_per_host(256).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, target) = (client.clone(), target.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| passed_on(client.clone(), target.clone(), request));
            let mut server = hyper::server::conn::http1::Builder::new();
            // A caller that hangs up is no news here.
            let _ = server.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn passed_on(client: Towards, target: Authority, mut request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(target);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    client.request(request).await
}
