//! A blob as a stream of exactly as many bytes as its descriptor says. When the connection breaks the rest is asked for
//! with a Range; registries that do not know ranges are read from the start and the known part is dropped.

use crate::session::{self, Ask};
use crate::transport::Answer;
use crate::wording::Subject;
use crate::{Error, Repository};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use oci::Digest;
use std::time::{Duration, Instant};

/// Progress of this many bytes forgives earlier failures.
const FORGIVEN_AFTER: u64 = 256 << 10;
/// Less than this within `idle * 4` of waiting is as good as nothing.
const SLOWEST: u64 = 4 << 10;

/// The stream. The receiver hashes it: this room does not see the bytes before `offset`.
pub struct Blob {
    repository: Repository,
    digest: Digest,
    size: u64,
    /// The next byte to give out.
    offset: u64,
    /// Bytes of the current answer that were given out before.
    skip: u64,
    answer: Option<Answer>,
    /// Whether the registry's ranges can be trusted.
    ranged: bool,
    failures: u32,
    /// `offset` at the last failure.
    mark: u64,
    /// Time spent waiting for the registry since `slow_mark`, not for the receiver.
    waited: Duration,
    slow_mark: u64,
    /// The current answer brings next to nothing.
    crawls: bool,
}

impl Repository {
    /// The blob's bytes from `offset` on, so that an earlier attempt can be continued. Nothing is sent before the first
    /// [`Blob::chunk`].
    pub fn blob(&self, digest: &Digest, size: u64, offset: u64) -> Blob {
        Blob {
            repository: self.clone(),
            digest: digest.clone(),
            size,
            offset,
            skip: 0,
            answer: None,
            ranged: true,
            failures: 0,
            mark: offset,
            waited: Duration::ZERO,
            slow_mark: offset,
            crawls: false,
        }
    }
}

impl Blob {
    /// The next byte that will be given out.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, none after the last. Cut connections are mended inside.
    ///
    /// # Errors
    /// `Corrupt` when the registry's blob is longer or shorter than `size`, `Unreachable` when patience ran out, or
    /// what the registry says.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.offset > self.size {
                return Err(self.wrong("more has been stored of it before"));
            }
            if std::mem::take(&mut self.crawls) && self.offset < self.size {
                self.failed("the data comes too slowly").await?;
            }
            let Some(answer) = &mut self.answer else {
                if self.offset == self.size {
                    return Ok(None);
                }
                self.open().await?;
                continue;
            };
            if self.offset == self.size && answer.ended() {
                answer.give_back();
                self.answer = None;
                continue;
            }
            let started = Instant::now();
            let next = answer.chunk().await;
            self.waited += started.elapsed();
            let fault = match next {
                Ok(Some(data)) => {
                    let data = self.take(data)?;
                    self.crawls = self.is_crawling();
                    if data.is_empty() {
                        continue;
                    }
                    return Ok(Some(data));
                }
                Ok(None) => {
                    self.answer = None;
                    if self.offset == self.size {
                        return Ok(None);
                    }
                    "unexpected EOF".to_owned()
                }
                // Everything has come; a registry that then does not end the answer is only a slow connection.
                Err(_) if self.offset == self.size => {
                    self.answer = None;
                    return Ok(None);
                }
                Err(fault) => fault.text().to_owned(),
            };
            self.failed(&fault).await?;
        }
    }

    /// Counts what came in, and drops what was known.
    fn take(&mut self, mut data: Bytes) -> Result<Bytes, Error> {
        let known = self.skip.min(data.len() as u64);
        self.skip -= known;
        let data = data.split_off(known as usize);
        if data.len() as u64 > self.size - self.offset {
            return Err(self.wrong("the registry sends more"));
        }
        self.offset += data.len() as u64;
        Ok(data)
    }

    /// Looks at each window of waiting whether enough came in it.
    fn is_crawling(&mut self) -> bool {
        if self.waited < self.repository.patience().idle * 4 {
            return false;
        }
        let came = self.offset - self.slow_mark;
        (self.waited, self.slow_mark) = (Duration::ZERO, self.offset);
        came < SLOWEST && self.skip == 0
    }

    fn wrong(&self, why: &str) -> Error {
        Error::Corrupt(format!("blob {} should have {} bytes: {why}", self.digest, self.size))
    }

    /// Before another try: an error when there were too many.
    async fn failed(&mut self, fault: &str) -> Result<(), Error> {
        self.answer = None;
        if self.offset - self.mark >= FORGIVEN_AFTER {
            self.failures = 0;
        }
        self.mark = self.offset;
        if self.failures >= self.repository.patience().retries {
            let Blob { digest, offset, size, .. } = self;
            return Err(Error::Unreachable(format!("fetching blob {digest}: {fault} after {offset} of {size} bytes")));
        }
        tracing::debug!(digest = %self.digest, offset = self.offset, fault, "blob is continued");
        session::pause(self.repository.patience(), self.failures, None).await;
        self.failures += 1;
        Ok(())
    }

    async fn open(&mut self) -> Result<(), Error> {
        let range = (self.offset > 0 && self.ranged).then_some(self.offset);
        let path = format!("blobs/{}", self.digest);
        let ask = Ask { method: Method::GET, path, subject: Subject::Blob, accept: &[], range };
        let answer = self.repository.request(&ask).await?;
        self.waited = Duration::ZERO;
        self.slow_mark = self.offset;
        let length: Option<u64> = answer.header(header::CONTENT_LENGTH).and_then(|v| v.parse().ok());
        match (answer.status, range) {
            (StatusCode::PARTIAL_CONTENT, Some(first)) => {
                let said = answer.header(header::CONTENT_RANGE).and_then(content_range);
                let right = said.is_some_and(|(from, to, all)| {
                    from == first && to.checked_add(1) == Some(self.size) && all.is_none_or(|all| all == self.size)
                });
                if !right || length.is_some_and(|l| l != self.size - first) {
                    self.ranged = false;
                    return self.failed("the registry answers with another range than was asked for").await;
                }
                self.skip = 0;
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                self.ranged = false;
                return self.failed("the registry has no such range").await;
            }
            (StatusCode::OK, _) => {
                if let Some(length) = length.filter(|l| *l != self.size) {
                    return Err(self.wrong(&format!("the registry has {length}")));
                }
                self.skip = self.offset;
            }
            (status, _) => {
                return Err(Error::Protocol(format!(
                    "fetching blob {}: received unexpected HTTP status: {status}",
                    self.digest
                )));
            }
        }
        self.answer = Some(answer);
        Ok(())
    }
}

/// `bytes 5-9/10` or `bytes 5-9/*`
fn content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, all) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let all = if all == "*" { None } else { Some(all.parse().ok()?) };
    Some((from.parse().ok()?, to.parse().ok()?, all))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 9, None)));
        for bad in ["", "bytes */10", "bytes 5-/10", "items 5-9/10", "bytes 5-9"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
