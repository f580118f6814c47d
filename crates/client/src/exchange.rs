//! One request and its whole answer.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode};
use testudo_wire::ApiError;

use crate::connect::{Connector, Sender};
use crate::error::ClientError;
use crate::settings::Timeouts;

/// The largest answer to a question about alerts or lists. A page of a hundred alerts has some hundred KiB; an
/// imported list of a hundred thousand decisions has 20 MiB.
pub(crate) const ANSWER_MOST: usize = 256 << 20;

/// The largest answer with decisions: some four million of them.
pub(crate) const STREAM_MOST: usize = 1 << 30;

/// As much of the answer to a failed call is read: it holds one sentence.
const FAILURE_MOST: usize = 64 << 10;

/// The largest part of an answer that is no JSON and is shown as it is.
const SHOWN_MOST: usize = 300;

/// What is sent. Cheap to clone, for further tries.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path and query, without a slash at its beginning.
    pub(crate) path: String,
    pub(crate) body: Bytes,
    pub(crate) gzip: bool,
    pub(crate) limit: usize,
    /// The media type that is asked for.
    pub(crate) accept: &'static str,
    /// The last event that a listener has.
    pub(crate) last_event: Option<String>,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Call {
        Call {
            method,
            path: path.into(),
            body: Bytes::new(),
            gzip: false,
            limit: ANSWER_MOST,
            accept: "application/json",
            last_event: None,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path)
    }

    pub(crate) fn with_body(self, body: impl Into<Bytes>) -> Call {
        Call { body: body.into(), ..self }
    }

    pub(crate) fn shown(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} /{path}", self.method)
    }

    /// Whether it may be sent twice without a difference.
    fn is_idempotent(&self) -> bool {
        self.method != Method::POST
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    location: Option<String>,
}

impl Answer {
    /// The answer itself if it is a good one.
    pub(crate) fn good(self) -> Result<Answer, ClientError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let status = self.status.as_u16();
        let message = self.message();
        Err(match status {
            401 | 403 => ClientError::Refused { status, message },
            _ => ClientError::Answered { status, message },
        })
    }

    /// What a failure says.
    fn message(&self) -> String {
        if let Some(location) = &self.location {
            return format!("http code {}, it is elsewhere: {location}", self.status.as_u16());
        }
        if let Ok(told) = serde_json::from_slice::<ApiError>(&self.body)
            && !told.message.is_empty()
        {
            return if told.errors.is_empty() {
                told.message
            } else {
                format!("{} ({})", told.message, told.errors)
            };
        }
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.trim().chars().filter(|c| !c.is_control()).take(SHOWN_MOST).collect();
        if text.is_empty() {
            format!("http code {}, no response body", self.status.as_u16())
        } else {
            format!("http code {}, response: {text}", self.status.as_u16())
        }
    }
}

/// How a request says who sends it.
pub(crate) type Credential = Option<(HeaderName, HeaderValue)>;

/// Sends requests and reads answers.
pub(crate) struct Exchange {
    pub(crate) connector: Connector,
    pub(crate) agent: HeaderValue,
    pub(crate) timeouts: Timeouts,
}

impl Exchange {
    /// Sends a call over the connection that was kept, or a new one; returns its whole answer.
    pub(crate) async fn send(&self, call: &Call, credential: &Credential) -> Result<Answer, ClientError> {
        if let Some(sender) = self.connector.take_idle() {
            match self.over(sender, call, credential).await {
                // The server has closed it in the meantime: that is no failure yet.
                Err(Lost { is_unsent, error })
                    if is_unsent || (call.is_idempotent() && is_closed(&error)) => {}
                answered => return answered.map_err(|lost| lost.error),
            }
        }
        let sender = self.connector.connect().await?;
        self.over(sender, call, credential).await.map_err(|lost| lost.error)
    }

    fn request(&self, call: &Call, credential: &Credential) -> Result<Request<Full<Bytes>>, ClientError> {
        let address = &self.connector.address;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", address.base, call.path))
            .header(HOST, &address.host)
            .header(USER_AGENT, &self.agent)
            .header(ACCEPT, call.accept);
        if let Some(cursor) = &call.last_event {
            request = request.header("last-event-id", cursor);
        }
        if let Some((name, value)) = credential {
            request = request.header(name, value);
        }
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if call.gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        request.body(Full::new(call.body.clone())).map_err(|error| ClientError::Unreadable {
            address: address.shown.clone(),
            call: call.shown(),
            problem: error.to_string(),
        })
    }

    async fn over(&self, mut sender: Sender, call: &Call, credential: &Credential) -> Result<Answer, Lost> {
        let response = self.begin(&mut sender, call, credential).await?;
        let answer = self.read(response, call.limit).await?;
        self.connector.keep(sender);
        Ok(answer)
    }

    /// Sends a call over a connection of its own; returns the head of its answer, and the body to be read as it comes.
    pub(crate) async fn open(
        &self,
        call: &Call,
        credential: &Credential,
    ) -> Result<(Sender, Response<Incoming>), ClientError> {
        let mut sender = self.connector.connect().await?;
        let response = self.begin(&mut sender, call, credential).await.map_err(|lost| lost.error)?;
        Ok((sender, response))
    }

    async fn begin(
        &self,
        sender: &mut Sender,
        call: &Call,
        credential: &Credential,
    ) -> Result<Response<Incoming>, Lost> {
        let request = self.request(call, credential)?;
        let address = || self.connector.address.shown.clone();
        let after = self.timeouts.answer;
        let answered = tokio::time::timeout(after, sender.try_send_request(request)).await;
        match answered {
            Err(_) => Err(ClientError::Timeout { address: address(), doing: "the answer", after }.into()),
            Ok(Err(mut error)) => {
                let is_unsent = error.take_message().is_some();
                let error = ClientError::Broken { address: address(), source: error.into_error() };
                Err(Lost { is_unsent, error })
            }
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// Reads an answer to its end.
    pub(crate) async fn read(
        &self,
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Answer, ClientError> {
        let is_good = response.status().is_success();
        let limit = if is_good { limit } else { FAILURE_MOST };
        let status = response.status();
        let location = response.headers().get(LOCATION).filter(|_| status.is_redirection());
        let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut whole = BytesMut::new();
        let read = self.read_pieces(response, limit, |piece| {
            whole.extend_from_slice(piece);
            Ok(())
        });
        match read.await {
            // The beginning of a failure is enough.
            Err(ClientError::TooLarge { .. }) if !is_good => {}
            read => read?,
        }
        Ok(Answer { status, body: whole.freeze(), location })
    }

    /// Reads the body of an answer to its end, and gives away its pieces as they come.
    ///
    /// # Errors
    /// It broke off, is too large, or there was silence; or what takes a piece does not want more.
    pub(crate) async fn read_pieces(
        &self,
        response: Response<Incoming>,
        limit: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let address = || self.connector.address.shown.clone();
        let too_large = || ClientError::TooLarge { address: address(), limit };
        let is_good = response.status().is_success();
        let mut body = response.into_body();
        if is_good && body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let after = self.timeouts.silence;
        let mut length = 0;
        loop {
            let frame = tokio::time::timeout(after, body.frame()).await;
            let frame = frame.map_err(|_| ClientError::Timeout {
                address: address(),
                doing: "the next part of the answer",
                after,
            })?;
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|source| ClientError::Broken { address: address(), source })?;
            let Ok(data) = frame.into_data() else { continue };
            length += data.len();
            if length > limit {
                return Err(too_large());
            }
            take(&data)?;
        }
    }
}

/// A call without an answer.
struct Lost {
    /// Whether nothing of it was sent.
    is_unsent: bool,
    error: ClientError,
}

impl From<ClientError> for Lost {
    fn from(error: ClientError) -> Self {
        Lost { is_unsent: false, error }
    }
}

/// Whether the connection ended before there was any answer.
fn is_closed(error: &ClientError) -> bool {
    match error {
        ClientError::Broken { source, .. } => {
            source.is_incomplete_message() || source.is_canceled() || source.is_closed()
        }
        _ => false,
    }
}
