//! Time limits for what moves: the writing of a connection, the arrival of a body.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::{Instant, Sleep},
};

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// A limit that begins when something has to be waited for.
struct Limit {
    most: Duration,
    sleep: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl Limit {
    fn new(most: Duration) -> Self {
        Self { most, sleep: Box::pin(tokio::time::sleep(most)), is_waiting: false }
    }

    /// Hands on what is ready. What is not for too long is an error.
    fn hold<T>(&mut self, polled: Poll<T>, context: &mut Context<'_>, error: impl FnOnce() -> T) -> Poll<T> {
        if polled.is_ready() {
            self.is_waiting = false;
            return polled;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.sleep.as_mut().reset(Instant::now() + self.most);
        }
        ready!(self.sleep.as_mut().poll(context));
        Poll::Ready(error())
    }
}

/// A connection whose other end has to take what is sent.
pub(super) struct Unstalled<S> {
    stream: S,
    limit: Limit,
}

impl<S> Unstalled<S> {
    /// The other end has to take something within this time, whenever something is to be sent.
    pub(super) fn new(stream: S, most: Duration) -> Self {
        Self { stream, limit: Limit::new(most) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstalled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstalled<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, limit } = self.get_mut();
        let polled = Pin::new(stream).poll_write(context, bytes);
        limit.hold(polled, context, || Err(late("nothing is taken")))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, limit } = self.get_mut();
        let polled = Pin::new(stream).poll_write_vectored(context, parts);
        limit.hold(polled, context, || Err(late("nothing is taken")))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, limit } = self.get_mut();
        let polled = Pin::new(stream).poll_flush(context);
        limit.hold(polled, context, || Err(late("nothing is taken")))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, limit } = self.get_mut();
        let polled = Pin::new(stream).poll_shutdown(context);
        limit.hold(polled, context, || Err(late("nothing is taken")))
    }
}

/// The body of a request on its way to the site. Each part of it has to arrive in time.
pub(super) struct Moving {
    /// None where there is no body.
    body: Option<Incoming>,
    limit: Option<Limit>,
    most: Duration,
    /// Goes with the body.
    _whole: Option<oneshot::Sender<Infallible>>,
}

impl Moving {
    /// A body of which something has to arrive within this time, and what ends when nobody needs it any more: it was sent.
    pub(super) fn new(body: Incoming, most: Duration) -> (Self, oneshot::Receiver<Infallible>) {
        let body = Some(body).filter(|body| !body.is_end_stream());
        let (sender, whole) = oneshot::channel();
        (Self { body, limit: None, most, _whole: Some(sender) }, whole)
    }

    /// No body at all.
    pub(super) const fn nothing() -> Self {
        Self { body: None, limit: None, most: Duration::ZERO, _whole: None }
    }
}

impl Body for Moving {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, limit, most, .. } = self.get_mut();
        let Some(body) = body else { return Poll::Ready(None) };
        let polled =
            Pin::new(body).poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        let limit = limit.get_or_insert_with(|| Limit::new(*most));
        limit.hold(polled, context, || Some(Err(late("the body does not arrive").into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}
