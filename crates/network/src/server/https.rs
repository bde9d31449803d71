//! The HTTPS fallback: the same sealed bytes in request and response bodies.
//!
//! A message that was carried is always answered 200 with sealed bytes, also when it is refused: the refusal is sealed
//! too. Other statuses are trouble of the transport and come as RFC 9457 problems with a `wire/…` code.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures::StreamExt as _;
use lode_program::listen::Refused;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::places::{HttpPlace, NoPlace};
use super::reply::{Afterwards, LogVerdict, TooOften};
use super::{Hub, IncomingFrame, LogReply, ReplyHandle, ServerEvent};
use crate::endpoint::{ConnectionId, Transport};
use crate::metrics::Direction;
use crate::protocol::Protocol;

/// Media type of sealed bytes.
pub(crate) const MEDIA_TYPE: &str = "application/cbor";

pub(super) fn routes<S: Clone + Send + Sync + 'static>(hub: Arc<Hub>) -> Router<S> {
    Router::new()
        .route("/wire/v1", get(probe).post(message))
        .route("/wire/v1/logs", post(logs))
        .with_state(hub)
}

/// Of an answer: the connection stays for the next request, for it has carried what was taken.
#[derive(Clone, Copy, Debug)]
struct Stays;

/// Closes every connection after its answer that has not carried what was taken.
pub(super) async fn close_unless_taken(mut response: Response) -> Response {
    if response.extensions().get::<Stays>().is_none() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Trouble of the transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    TooLarge { limit: usize },
    Empty,
    MediaType,
    BodyTimeout,
    BodyBroken,
    Busy,
    TooManyOfAddress,
    NoAnswer,
    TooOften,
    NotWanted,
}

impl Trouble {
    fn parts(self) -> (StatusCode, &'static str, String) {
        match self {
            Trouble::TooLarge { limit } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "wire/too-large",
                format!("At most {limit} bytes are accepted; send less in one message."),
            ),
            Trouble::Empty => {
                (StatusCode::BAD_REQUEST, "wire/empty", "The body must hold one sealed message.".to_owned())
            }
            Trouble::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "wire/media-type",
                format!("Send sealed bytes as {MEDIA_TYPE}."),
            ),
            Trouble::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "wire/body-timeout",
                "The body did not arrive in time; send it again.".to_owned(),
            ),
            Trouble::BodyBroken => {
                (StatusCode::BAD_REQUEST, "wire/body-broken", "The body broke off; send it again.".to_owned())
            }
            Trouble::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "wire/busy",
                "Too many requests are being served; try again shortly.".to_owned(),
            ),
            Trouble::TooManyOfAddress => (
                StatusCode::SERVICE_UNAVAILABLE,
                "wire/too-many-of-one-address",
                "Too many requests of your address are being served; try again shortly.".to_owned(),
            ),
            Trouble::NoAnswer => (
                StatusCode::SERVICE_UNAVAILABLE,
                "wire/no-answer",
                "The program did not answer in time; try again shortly.".to_owned(),
            ),
            Trouble::TooOften => (
                StatusCode::TOO_MANY_REQUESTS,
                "wire/too-often",
                "More messages without a session come from your address, or in all, than are looked at; try again shortly."
                    .to_owned(),
            ),
            Trouble::NotWanted => (
                StatusCode::GONE,
                "wire/not-wanted",
                "Nobody reads this stream any more; stop sending it.".to_owned(),
            ),
        }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let (status, code, detail) = self.parts();
        let body = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("error"),
            "status": status.as_u16(),
            "code": code,
            "detail": detail,
        });
        let later = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let retry: Option<(HeaderName, &str)> = later.then_some((header::RETRY_AFTER, "1"));
        let media = [(header::CONTENT_TYPE, "application/problem+json")];
        match retry {
            Some(retry) => (status, media, [retry], body.to_string()).into_response(),
            None => (status, media, body.to_string()).into_response(),
        }
    }
}

async fn probe(State(hub): State<Arc<Hub>>) -> StatusCode {
    if hub.sink.is_closed() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
}

async fn message(
    State(hub): State<Arc<Hub>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answered(&hub, carry_message(&hub, remote_of(&extensions), &headers, body).await)
}

async fn logs(
    State(hub): State<Arc<Hub>>,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answered(&hub, carry_logs(&hub, remote_of(&extensions), &headers, body).await)
}

fn remote_of(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
}

fn answered(hub: &Hub, result: Result<Response, Trouble>) -> Response {
    result.unwrap_or_else(|trouble| {
        hub.metrics.refuse_http(trouble.parts().1);
        trouble.into_response()
    })
}

async fn carry_message(
    hub: &Arc<Hub>,
    remote: Option<IpAddr>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Trouble> {
    let _place = place(hub, remote)?;
    let bytes = receive(hub, headers, body, hub.protocol.opener_limit()).await?;
    let (sender, receiver) = oneshot::channel();
    let frame = IncomingFrame {
        peer: None,
        connection: ConnectionId::next(Transport::Https),
        remote,
        bytes,
        received_at: Instant::now(),
        reply: ReplyHandle::http(sender, hub.protocol.accepter_limit()),
    };
    hand_over(hub, ServerEvent::Frame(frame)).await?;
    let answer = timeout(hub.config.answer_timeout, receiver).await;
    let answer = answer.map_err(|_| Trouble::NoAnswer)?.map_err(|_| Trouble::NoAnswer)?;
    let (answer, afterwards) = answer.map_err(|TooOften| Trouble::TooOften)?;
    let answer = answer.make(hub.protocol.accepter_limit()).ok_or(Trouble::NoAnswer)?;
    hub.metrics.frame(Direction::Outgoing, answer.len());
    let head = [(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok(match afterwards {
        Afterwards::Stay => (Extension(Stays), head, answer).into_response(),
        Afterwards::Close => (Extension(Refused), head, answer).into_response(),
    })
}

async fn carry_logs(
    hub: &Arc<Hub>,
    remote: Option<IpAddr>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Trouble> {
    let _place = place(hub, remote)?;
    let bytes = receive(hub, headers, body, Protocol::Logs.accepter_limit()).await?;
    let (sender, receiver) = oneshot::channel();
    hand_over(hub, ServerEvent::Logs { bytes, reply: LogReply(sender) }).await?;
    let verdict = timeout(hub.config.answer_timeout, receiver).await;
    match verdict.map_err(|_| Trouble::NoAnswer)?.map_err(|_| Trouble::NoAnswer)? {
        LogVerdict::Accepted => Ok((Extension(Stays), StatusCode::NO_CONTENT).into_response()),
        LogVerdict::NotWanted => Err(Trouble::NotWanted),
    }
}

fn place(hub: &Hub, remote: Option<IpAddr>) -> Result<HttpPlace, Trouble> {
    hub.http.take(remote).map_err(|none| match none {
        NoPlace::AllTaken => Trouble::Busy,
        NoPlace::ShareTaken => Trouble::TooManyOfAddress,
    })
}

async fn hand_over(hub: &Hub, event: ServerEvent) -> Result<(), Trouble> {
    match timeout(hub.config.answer_timeout, hub.sink.take(event)).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Trouble::Busy),
    }
}

/// The whole body, refused as soon as it is known to be too large: before the first byte where its length is announced.
async fn receive(hub: &Hub, headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Trouble> {
    let media = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    if media != Some(MEDIA_TYPE.as_bytes()) {
        return Err(Trouble::MediaType);
    }
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Trouble::TooLarge { limit });
    }
    let bytes = timeout(hub.config.body_timeout, collect(body, announced, limit))
        .await
        .map_err(|_| Trouble::BodyTimeout)??;
    if bytes.is_empty() {
        return Err(Trouble::Empty);
    }
    hub.metrics.frame(Direction::Incoming, bytes.len());
    Ok(bytes)
}

/// Memory reserved on the word of a header alone.
const FIRST_RESERVE: usize = 1 << 10;

async fn collect(body: Body, announced: Option<usize>, limit: usize) -> Result<Vec<u8>, Trouble> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::with_capacity(announced.unwrap_or_default().min(FIRST_RESERVE));
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Trouble::BodyBroken)?;
        if bytes.len() + chunk.len() > limit {
            return Err(Trouble::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
