//! Bodies of requests: read up to a limit, decompressed up to the same limit.

use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, HeaderMap};

/// The text that clients know.
const TOO_LARGE: &str = "http: request body too large";

/// Compressed bodies beyond this size are decompressed where it is allowed to take long.
const INLINE_BYTES: usize = 1024;

/// How much of a body that nobody wants is read, in bytes, and how long.
const DRAIN_MOST: u64 = 1 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a body cannot be taken. As text it is what the API says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{TOO_LARGE}")]
    TooLarge,
    #[error("unsupported content encoding '{0}'")]
    Encoding(String),
    #[error("gzip: invalid data")]
    Gzip,
    #[error("the body broke off")]
    Broken,
    #[error("the body took too long")]
    Slow,
}

/// Reads a body of at most `limit` bytes, counted after decompression.
pub(crate) async fn read<B>(body: B, headers: &HeaderMap, limit: usize) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let encoding = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?")).trim();
    let is_gzip = encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip");
    if !is_gzip && !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(ReadError::Encoding(encoding.to_owned()));
    }
    let raw = collect(body, limit).await?;
    if !is_gzip {
        return Ok(raw);
    }
    if raw.len() <= INLINE_BYTES {
        return inflate(&raw, limit);
    }
    let inflated = tokio::task::spawn_blocking(move || inflate(&raw, limit)).await;
    inflated.map_err(|_| ReadError::Broken)?
}

/// Reads what is left of a body that nobody wants, if it is little: a client that is refused before it has sent
/// everything may never see why when the connection is closed on it.
pub(crate) async fn drain<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() || body.size_hint().lower() > DRAIN_MOST {
        return;
    }
    let all = async {
        let mut read = 0;
        while read <= DRAIN_MOST
            && let Some(Ok(frame)) = body.frame().await
        {
            read += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
    };
    // Whether it came to its end is all one.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, all).await;
}

async fn collect<B: Body<Data = Bytes> + Unpin>(mut body: B, limit: usize) -> Result<Bytes, ReadError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(ReadError::TooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(ReadError::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Never holds more than one byte beyond the limit, whatever the data says.
fn inflate(raw: &[u8], limit: usize) -> Result<Bytes, ReadError> {
    let mut out = Vec::new();
    let most = limit as u64 + 1;
    MultiGzDecoder::new(raw).take(most).read_to_end(&mut out).map_err(|_| ReadError::Gzip)?;
    if out.len() > limit { Err(ReadError::TooLarge) } else { Ok(out.into()) }
}
