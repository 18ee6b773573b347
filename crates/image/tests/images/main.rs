//! Images end to end, over real sockets and real directories. Needs root (layers keep owners and devices), tar, gzip
//! and zstd; `real` needs Debian's docker-registry, skopeo and umoci.
#![allow(missing_docs)]

mod fake;
mod layers;
mod pull;
mod real;
mod store;

use image::{Config, Event, Images, Progress};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A directory of this test alone, gone at its end.
pub struct Place(PathBuf);

impl Place {
    pub fn fresh() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dhow-image-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The store of this place, opened as a daemon does at its start.
    pub fn open(&self) -> Images {
        self.open_both().0
    }

    pub fn open_both(&self) -> (Images, layer::Layers) {
        let layers = self.layers();
        let patience = registry::Patience {
            idle: Duration::from_millis(1500),
            retries: 2,
            pause: Duration::from_millis(1),
            ..registry::Patience::default()
        };
        let registry = registry::Config { patience, certs: Vec::new(), ..registry::Config::default() };
        let config = Config { registry, ..Config::default() };
        (Images::open(&self.0.join("image"), layers.clone(), config).unwrap(), layers)
    }

    /// The layers; waits for threads of an earlier opening that are just ending.
    pub fn layers(&self) -> layer::Layers {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match layer::Layers::open(&self.0.join("layer")) {
                Err(layer::Error::InUse { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                opened => return opened.unwrap(),
            }
        }
    }

    /// Files below a directory of this place, relative to it.
    pub fn files(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut todo = vec![self.0.join(below)];
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                // What is being removed may vanish while it is looked at.
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    todo.push(path);
                } else {
                    found.push(path.strip_prefix(&self.0).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Threads of a pull that was given up may still be leaving files.
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::remove_dir_all(&self.0).is_err() && self.0.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Takes down the news of a pull.
#[derive(Clone, Default)]
pub struct News(Arc<Mutex<Vec<Progress>>>);

impl News {
    pub fn take(&self) -> impl Fn(Progress) + Send + Sync + use<> {
        let news = self.0.clone();
        move |progress| news.lock().unwrap().push(progress)
    }

    /// `id: status`, without the lines that only count bytes.
    pub fn lines(&self) -> Vec<String> {
        let counting = |e: &Event| matches!(e, Event::Downloading { .. });
        let news = self.0.lock().unwrap();
        news.iter()
            .filter(|p| !counting(&p.event))
            .map(|p| match &p.id {
                Some(id) => format!("{id}: {}", p.event.text()),
                None => p.event.text(),
            })
            .collect()
    }
}

/// Runs what is asynchronous, as the daemon does.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), work).await.expect("it hangs") })
}
