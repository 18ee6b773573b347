//! One layer, fetched and unpacked as one stream, once, however many pulls wait for it.
//!
//! A job belongs to those who wait for it: it goes on while one of them is there and is given up with the last. What was
//! fetched until then stays, and the next job for the layer goes on from there.

use crate::progress::Event;
use crate::store::Images;
use crate::{Error, Result};
use layer::ChainId;
use oci::Digest;
use oci::image::{Compression, Descriptor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio::task::AbortHandle;

/// How often the receivers of news are told about bytes.
const NEWS: Duration = Duration::from_millis(100);
/// How long a writer that was just given up may take to notice.
const BUSY: Duration = Duration::from_secs(60);

/// What is being fetched.
pub(crate) struct Fetching {
    permits: Arc<Semaphore>,
    jobs: Mutex<HashMap<ChainId, Weak<Job>>>,
    documents: Mutex<HashMap<Digest, Weak<OnceCell<Vec<u8>>>>>,
}

/// Where the bytes of a layer come from.
enum Source {
    Registry(layer::PullSink),
    Blob(layer::Staged),
}

/// What to fetch.
pub(crate) struct Wanted {
    pub repository: registry::Repository,
    pub blob: Descriptor,
    pub compression: Compression,
    pub diff_id: Digest,
    pub chain: ChainId,
    pub parent: Option<ChainId>,
    /// The parent's own job, when it is not there yet.
    pub below: Option<Arc<Job>>,
}

/// How far a job is. The order is that of the news.
#[derive(Debug, Clone)]
enum Phase {
    Queued,
    Waiting,
    Downloading { current: u64, total: u64 },
    Verifying,
    Downloaded,
    Extracting { total: u64 },
    Complete { total: u64 },
    Failed(Error),
}

/// A layer on its way.
pub(crate) struct Job {
    /// The repository that it fetches from.
    from: String,
    phase: watch::Receiver<Phase>,
    task: AbortHandle,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fetching {
    pub(crate) fn new(downloads: usize) -> Fetching {
        Fetching { permits: Arc::new(Semaphore::new(downloads)), jobs: Mutex::default(), documents: Mutex::default() }
    }
}

impl Images {
    /// The job for a layer: the one that runs, or a new one.
    pub(crate) fn fetch(&self, wanted: Wanted) -> Arc<Job> {
        let mut jobs = self.0.fetching.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, job| job.strong_count() > 0);
        let chain = wanted.chain.clone();
        let running = jobs.get(&chain).and_then(Weak::upgrade);
        if let Some(job) = running.filter(|job| !matches!(*job.phase.borrow(), Phase::Failed(_))) {
            return job;
        }
        let (news, phase) = watch::channel(Phase::Queued);
        let from = wanted.repository.reference().repository();
        let images = self.clone();
        let task = tokio::spawn(async move {
            let total = wanted.blob.size;
            let last = match images.run(wanted, &news).await {
                Ok(()) => Phase::Complete { total },
                Err(error) => Phase::Failed(error),
            };
            news.send_replace(last);
        });
        let job = Arc::new(Job { from, phase, task: task.abort_handle() });
        jobs.insert(chain, Arc::downgrade(&job));
        job
    }

    async fn run(&self, wanted: Wanted, news: &watch::Sender<Phase>) -> Result<()> {
        let permits = &self.0.fetching.permits;
        let permit = match permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                news.send_replace(Phase::Waiting);
                let closed = |_| Error::Invalid("the image store is closing".into());
                permits.clone().acquire_owned().await.map_err(closed)?
            }
        };
        let mut staged = self.stream(&wanted, news).await;
        // The beginning that an earlier attempt left may be what is damaged: then once more from the start.
        if let Err((Error::Layer(error), true)) = &staged
            && matches!(**error, layer::Error::Digest { .. } | layer::Error::Compressed(_))
        {
            self.forget(&wanted.blob.digest).await?;
            staged = self.stream(&wanted, news).await;
        }
        let staged = staged.map_err(|(error, _)| error)?;
        drop(permit);
        news.send_replace(Phase::Extracting { total: wanted.blob.size });
        if let Some(below) = &wanted.below {
            below.finished().await?;
        }
        let parent = wanted.parent.clone();
        blocking(move || Ok(staged.commit(parent.as_ref())?)).await?;
        Ok(())
    }

    async fn forget(&self, digest: &Digest) -> Result<()> {
        let (layers, digest) = (self.0.layers.clone(), digest.clone());
        blocking(move || patient(|| layers.forget_partial(&digest))).await
    }

    /// Fetches and unpacks. With an error: whether an earlier attempt was gone on with.
    async fn stream(
        &self,
        wanted: &Wanted,
        news: &watch::Sender<Phase>,
    ) -> std::result::Result<layer::Staged, (Error, bool)> {
        let total = wanted.blob.size;
        let (layers, limits) = (self.0.layers.clone(), self.0.limits.clone());
        let (digest, compression, diff_id) = (wanted.blob.digest.clone(), wanted.compression, wanted.diff_id.clone());
        let opened = blocking(move || {
            patient(|| {
                if layers.blob_size(&digest)? == Some(total) {
                    // Another image brought it, or an earlier attempt that got this far.
                    let staged = layers.stage_blob(&digest, compression, Some(&diff_id), &limits);
                    return staged.map(Source::Blob);
                }
                layers.pull_sink(&digest, Some(total), compression, Some(&diff_id), &limits).map(Source::Registry)
            })
        });
        let mut sink = match opened.await.map_err(|e| (e, true))? {
            Source::Registry(sink) => sink,
            Source::Blob(staged) => return Ok(staged),
        };
        let resumed = sink.offset() > 0;
        let mut blob = wanted.repository.blob(&wanted.blob.digest, total, sink.offset());
        news.send_replace(Phase::Downloading { current: blob.offset(), total });
        while let Some(chunk) = blob.chunk().await.map_err(|e| (e.into(), resumed))? {
            sink.write_async(&chunk).await.map_err(|e| (e.into(), resumed))?;
            news.send_replace(Phase::Downloading { current: blob.offset(), total });
        }
        news.send_replace(Phase::Verifying);
        let staged = blocking(move || Ok(sink.finish()?)).await.map_err(|e| (e, resumed))?;
        news.send_replace(Phase::Downloaded);
        Ok(staged)
    }

    /// A small blob, fetched once however many ask for it while one of them keeps the answer.
    pub(crate) async fn document(
        &self,
        repository: &registry::Repository,
        blob: &Descriptor,
        limit: usize,
    ) -> Result<Arc<OnceCell<Vec<u8>>>> {
        let cell = {
            let mut documents = self.0.fetching.documents.lock().unwrap_or_else(PoisonError::into_inner);
            documents.retain(|_, cell| cell.strong_count() > 0);
            documents.get(&blob.digest).and_then(Weak::upgrade).unwrap_or_else(|| {
                let cell = Arc::new(OnceCell::new());
                documents.insert(blob.digest.clone(), Arc::downgrade(&cell));
                cell
            })
        };
        cell.get_or_try_init(|| repository.document(blob, limit)).await?;
        Ok(cell)
    }
}

impl Job {
    /// Waits for the end.
    async fn finished(&self) -> Result<()> {
        let mut phase = self.phase.clone();
        let last = phase.wait_for(|p| matches!(p, Phase::Complete { .. } | Phase::Failed(_))).await;
        match last.as_deref() {
            Ok(Phase::Failed(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Conflict("the pull of a layer was cancelled".into())),
        }
    }

    /// Whether it fetches from `repository`. From another one it may fail where that one would not.
    pub(crate) fn is_from(&self, repository: &registry::Repository) -> bool {
        self.from == repository.reference().repository()
    }

    /// Tells all that happens until the end, leaving out no step.
    pub(crate) async fn follow(&self, tell: impl Fn(Event)) -> Result<()> {
        let mut phase = self.phase.clone();
        let mut told = 0;
        loop {
            let now = phase.borrow_and_update().clone();
            for event in now.news(&mut told) {
                tell(event);
            }
            match now {
                Phase::Complete { .. } => return Ok(()),
                Phase::Failed(error) => return Err(error),
                // Bytes come all the time: look again after a while, or when there is something else.
                Phase::Downloading { .. } => {
                    let _ =
                        tokio::time::timeout(NEWS, phase.wait_for(|p| !matches!(p, Phase::Downloading { .. }))).await;
                }
                _ if phase.changed().await.is_err() => return self.finished().await,
                _ => {}
            }
        }
    }
}

impl Phase {
    fn order(&self) -> usize {
        match self {
            Phase::Queued => 0,
            Phase::Waiting => 1,
            Phase::Downloading { .. } => 2,
            Phase::Verifying => 3,
            Phase::Downloaded => 4,
            Phase::Extracting { .. } => 5,
            Phase::Complete { .. } => 6,
            Phase::Failed(_) => 7,
        }
    }

    /// What is to be told when this phase is seen and everything before step `told` was. Short steps that nobody saw
    /// are told as well, so that each layer has the same lines every time.
    fn news(&self, told: &mut usize) -> Vec<Event> {
        let mut events = Vec::new();
        let order = self.order();
        if let Phase::Failed(_) = self {
            return events;
        }
        for step in *told + 1..order {
            match (step, self) {
                (3, _) => events.push(Event::Verifying),
                (4, _) => events.push(Event::Downloaded),
                (5, Phase::Complete { total }) => events.push(Event::Extracting { current: *total, total: *total }),
                _ => {}
            }
        }
        *told = (*told).max(order);
        events.extend(match self {
            Phase::Waiting => Some(Event::Waiting),
            Phase::Downloading { current, total } => Some(Event::Downloading { current: *current, total: *total }),
            Phase::Verifying => Some(Event::Verifying),
            Phase::Downloaded => Some(Event::Downloaded),
            Phase::Extracting { total } => Some(Event::Extracting { current: *total, total: *total }),
            Phase::Complete { .. } => Some(Event::Complete),
            Phase::Queued | Phase::Failed(_) => None,
        });
        events
    }
}

/// Runs what blocks beside the tasks.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let panicked = |e: tokio::task::JoinError| Error::Corrupt(format!("work on an image ended unexpectedly: {e}"));
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

/// Repeats what finds the place taken by a writer that is about to go.
pub(crate) fn patient<T>(mut work: impl FnMut() -> layer::Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match work() {
            Err(layer::Error::Busy(_)) if started.elapsed() < BUSY => std::thread::sleep(Duration::from_millis(10)),
            result => return Ok(result?),
        }
    }
}
