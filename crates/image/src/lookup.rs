//! What a user typed → an image, and the views of it.

use crate::record::Stored;
use crate::store::{Images, State};
use crate::{Error, Result};
use layer::ChainId;
use oci::image::{Descriptor, ImageConfig};
use oci::{Digest, Reference};
use std::sync::Arc;

/// An image as it is now.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the configuration.
    pub id: Digest,
    /// The configuration. What it says about itself is data of others.
    pub config: Arc<ImageConfig>,
    /// The manifest it was pulled by.
    pub manifest: Option<Descriptor>,
    /// `debian:13`, in order.
    pub repo_tags: Vec<String>,
    /// `debian@sha256:…`, in order.
    pub repo_digests: Vec<String>,
    /// Bytes of the unpacked layers.
    pub size: u64,
    /// The uppermost layer; none for an image without layers.
    pub chain: Option<ChainId>,
    /// The chains of all layers, lowest first.
    pub chains: Vec<ChainId>,
    /// Seconds since 1970; 0 when the configuration does not say.
    pub created: i64,
    /// Seconds since 1970 when it was last tagged here; 0 never.
    pub tagged: i64,
}

/// One line of `history`, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// The image ID for the newest, `<missing>` for the others.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The step that made it.
    pub created_by: String,
    /// The tags of the newest.
    pub tags: Vec<String>,
    /// Bytes of the layer the step made.
    pub size: u64,
    /// A comment.
    pub comment: String,
}

/// Seconds since 1970 of an RFC 3339 time.
pub(crate) fn seconds(time: Option<&str>) -> i64 {
    time.and_then(|t| t.parse::<jiff::Timestamp>().ok()).map_or(0, |t| t.as_second())
}

impl State {
    pub(crate) fn view(&self, stored: &Arc<Stored>) -> Image {
        let (mut repo_tags, mut repo_digests) = (Vec::new(), Vec::new());
        for name in self.names.of(stored.id()) {
            if name.digest().is_some() { repo_digests.push(name.familiar()) } else { repo_tags.push(name.familiar()) }
        }
        Image {
            id: stored.id().clone(),
            config: stored.config.clone(),
            manifest: stored.record.manifests.first().cloned(),
            repo_tags,
            repo_digests,
            size: stored.record.size,
            chain: stored.chains.last().cloned(),
            chains: stored.chains.clone(),
            created: seconds(stored.config.created.as_deref()),
            tagged: stored.record.tagged,
        }
    }

    /// By full ID, name, name with digest, or the beginning of an ID, in this order.
    pub(crate) fn find(&self, text: &str) -> Result<&Arc<Stored>> {
        let unknown = || Error::no_such_image(text);
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_hex && hex.len() == 64 {
            let id: Digest = format!("sha256:{hex}").parse()?;
            return self.images.get(&id).ok_or_else(unknown);
        }
        let reference: Reference = text.parse()?;
        if let Some(stored) = self.names.get(&reference).and_then(|id| self.images.get(id)) {
            return Ok(stored);
        }
        if !is_hex || hex.len() > 64 {
            return Err(unknown());
        }
        let first: Digest = format!("sha256:{hex:0<64}").parse()?;
        let mut candidates = self.images.range(first..).take_while(|(id, _)| id.hex().starts_with(hex));
        let (_, found) = candidates.next().ok_or_else(unknown)?;
        match candidates.next() {
            Some(_) => Err(Error::Invalid(format!("multiple IDs found with provided prefix: {text}"))),
            None => Ok(found),
        }
    }
}

impl Images {
    /// The image that a name, a name with a digest, an ID or the beginning of one stands for.
    ///
    /// # Errors
    /// `NotFound` in Docker's words; `Invalid` when it is no name, or the beginning of several IDs.
    pub fn get(&self, text: &str) -> Result<Image> {
        let state = self.state();
        Ok(state.view(state.find(text)?))
    }

    /// The id of what [`Images::get`] gives, without its documents.
    ///
    /// # Errors
    /// As [`Images::get`].
    pub fn id(&self, text: &str) -> Result<Digest> {
        let state = self.state();
        Ok(state.find(text)?.id().clone())
    }

    /// All images, newest first.
    pub fn list(&self) -> Vec<Image> {
        let mut all: Vec<Image> = {
            let state = self.state();
            state.images.values().map(|stored| state.view(stored)).collect()
        };
        all.sort_by_key(|image| std::cmp::Reverse(image.created));
        all
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.state().images.len()
    }

    /// How an image was made, newest step first. Blocks for the sizes of the layers.
    ///
    /// # Errors
    /// As [`Images::get`].
    pub fn history(&self, text: &str) -> Result<Vec<HistoryLine>> {
        let image = self.get(text)?;
        let mut layers = image.chains.iter();
        let mut lines = Vec::new();
        for step in &image.config.history {
            let layer = if step.empty_layer == Some(true) { None } else { layers.next() };
            lines.push(HistoryLine {
                id: "<missing>".into(),
                created: seconds(step.created.as_deref()),
                created_by: step.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size: layer.map_or(Ok(0), |chain| self.0.layers.layer_size(chain))?,
                comment: step.comment.clone().unwrap_or_default(),
            });
        }
        lines.reverse();
        if let Some(newest) = lines.first_mut() {
            newest.id = image.id.to_string();
            newest.tags = image.repo_tags;
        }
        Ok(lines)
    }
}
