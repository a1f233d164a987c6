//! Lets sigstore-tuf's asynchronous client run without any runtime: it asks, somebody else fetches, it goes on.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use sigstore_tuf::transport::{FetchFuture, Repository};

/// Why a file could not be fetched: text for people. That there is no such file is `Ok(None)`, not this.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// What fetching a file gave; `Ok(None)`: there is no such file.
pub type Fetched = Result<Option<Vec<u8>>, FetchError>;

/// One question at a time, and its answer.
#[derive(Default)]
struct Letter {
    question: Option<(String, u64)>,
    answer: Option<Fetched>,
}

/// The end of the mailbox that sigstore-tuf holds.
#[derive(Clone, Default)]
pub(super) struct Mailbox(Arc<Mutex<Letter>>);

impl Mailbox {
    fn with<T>(&self, act: impl FnOnce(&mut Letter) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `work` to its end, answering its questions with `fetch`; `None` if it waits for anything else.
    pub(super) fn run<T>(
        &self,
        work: impl Future<Output = T>,
        fetch: &mut dyn FnMut(&str, u64) -> Fetched,
    ) -> Option<T> {
        let mut work = pin!(work);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                return Some(done);
            }
            let (name, limit) = self.with(|letter| letter.question.take())?;
            let answer = fetch(&name, limit);
            self.with(|letter| letter.answer = Some(answer));
        }
    }
}

impl Repository for Mailbox {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        self.with(|letter| *letter = Letter { question: Some((name.to_owned(), max_length)), answer: None });
        Box::pin(std::future::poll_fn(move |_| {
            let Some(answer) = self.with(|letter| letter.answer.take()) else { return Poll::Pending };
            Poll::Ready(match answer {
                Ok(Some(bytes)) if bytes.len() as u64 > max_length => {
                    Err(sigstore_tuf::Error::transport(format!("{name} has more than the {max_length} bytes allowed")))
                }
                Ok(found) => Ok(found),
                Err(error) => {
                    Err(sigstore_tuf::Error::transport_with_source(format!("{name} could not be fetched"), error))
                }
            })
        }))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, _: u64) -> FetchFuture<'a> {
        // Packages are streamed to the disk by the transport, never buffered here.
        Box::pin(async move { Err(sigstore_tuf::Error::transport(format!("{path} is not fetched this way"))) })
    }
}
