//! The transport for real groups: gRPC over plain TCP on the loopback, or over TLS 1.3 with the configuration that is
//! handed in.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use openraft::TokioRuntime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Server, Uri};

use crate::log::lock;
use crate::member::Member;
use crate::network::{Exchange, Transport, TransportError};
use crate::types::MemberId;
use crate::wire::raft_client::RaftClient;
use crate::wire::raft_server::{Raft, RaftServer};
use crate::wire::{Reply, Request};

/// Largest message, bytes: a batch or a part of a snapshot, and what is around it.
const MESSAGE_BYTES: usize = 64 << 20;
/// Longest time for a connection to come about.
const CONNECT: Duration = Duration::from_millis(500);
/// Silence after which a connection is asked whether it lives, and after which it does not.
const ALIVE: Duration = Duration::from_secs(1);
/// Connections that wait to be served.
const WAITING: usize = 64;

/// Connects to other members.
pub struct GrpcTransport {
    tls: Option<(TlsConnector, ServerName<'static>)>,
    channels: Mutex<BTreeMap<MemberId, (String, Channel)>>,
}

impl GrpcTransport {
    /// Without encryption: for members on one machine.
    pub fn plain() -> GrpcTransport {
        GrpcTransport { tls: None, channels: Mutex::default() }
    }

    /// Over TLS. Every member must show a certificate for `name`.
    pub fn tls(config: Arc<ClientConfig>, name: ServerName<'static>) -> GrpcTransport {
        GrpcTransport { tls: Some((TlsConnector::from(config), name)), channels: Mutex::default() }
    }

    fn channel(&self, target: MemberId, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut channels = lock(&self.channels);
        if let Some((known, channel)) = channels.get(&target)
            && known == address
        {
            return Ok(channel.clone());
        }
        // After a cut, TCP alone would wait ever longer before it tries again.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(ALIVE)
            .keep_alive_timeout(ALIVE);
        let channel = match self.tls.clone() {
            None => endpoint.connect_lazy(),
            Some((connector, name)) => endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: Uri| {
                let (connector, name) = (connector.clone(), name.clone());
                async move {
                    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
                    let stream = TcpStream::connect(authority).await?;
                    stream.set_nodelay(true)?;
                    let stream = connector.connect(name, stream).await?;
                    require_1_3(stream.get_ref().1.protocol_version())?;
                    Ok::<_, io::Error>(TokioIo::new(stream))
                }
            })),
        };
        channels.insert(target, (address.to_owned(), channel.clone()));
        Ok(channel)
    }
}

fn require_1_3(version: Option<ProtocolVersion>) -> io::Result<()> {
    match version {
        Some(ProtocolVersion::TLSv1_3) => Ok(()),
        other => Err(io::Error::other(format!("{other:?} was agreed on, and members speak TLS 1.3 only"))),
    }
}

impl Transport for GrpcTransport {
    fn exchange(&self, target: MemberId, address: &str, request: Request) -> Exchange {
        let channel = self.channel(target, address);
        Box::pin(async move {
            let unreached = |reason: String| TransportError::Unreached { target, reason };
            let channel = channel.map_err(|e| unreached(e.to_string()))?;
            let mut client = RaftClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
            match client.exchange(request).await {
                Ok(reply) => Ok(reply.into_inner()),
                // Whether it arrived cannot be told from here.
                Err(status) => Err(TransportError::Lost { target, reason: status.to_string() }),
            }
        })
    }
}

struct Service(Member<TokioRuntime>);

#[tonic::async_trait]
impl Raft for Service {
    async fn exchange(&self, request: tonic::Request<Request>) -> Result<tonic::Response<Reply>, tonic::Status> {
        Ok(tonic::Response::new(self.0.serve(request.into_inner()).await))
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that was accepted, encrypted or not.
struct Socket(Box<dyn Io>);

impl Connected for Socket {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Serves a member's requests on `listener` until the future is dropped; over TLS where a configuration is given, which
/// should ask for the certificates of clients.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    member: Member<TokioRuntime>,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
) -> Result<(), tonic::transport::Error> {
    let (sockets, incoming) = mpsc::channel(WAITING);
    let accepting = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), sockets));
    let service = RaftServer::new(Service(member)).max_decoding_message_size(MESSAGE_BYTES);
    let server = Server::builder().http2_keepalive_interval(Some(ALIVE)).http2_keepalive_timeout(Some(ALIVE));
    let served = server.serve_with_incoming(service, ReceiverStream::new(incoming)).await;
    accepting.abort();
    served
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, sockets: mpsc::Sender<io::Result<Socket>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Of one connection, or for want of descriptors: others may still come.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let (tls, sockets) = (tls.clone(), sockets.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(CONNECT, greet(stream, tls)).await {
                // Nobody serves any more where it cannot be handed on.
                Ok(Ok(socket)) => drop(sockets.send(Ok(socket)).await),
                Ok(Err(error)) => tracing::warn!("a connection was refused: {error}"),
                Err(_) => tracing::warn!("a connection was refused: no handshake within {CONNECT:?}"),
            }
        });
    }
}

async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Socket> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Socket(Box::new(stream))) };
    let stream = tls.accept(stream).await?;
    require_1_3(stream.get_ref().1.protocol_version())?;
    Ok(Socket(Box::new(stream)))
}
