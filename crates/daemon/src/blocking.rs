//! The one seam between this asynchronous edge and the rooms, which block.

use crate::error::{Error, Result};

/// Runs `work` on a thread that may block. A panic in it becomes a 500 and stays there.
///
/// # Errors
/// Those of `work`.
pub async fn blocking<T, E, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    E: Into<Error> + Send + 'static,
    F: FnOnce() -> std::result::Result<T, E> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(e) => {
            tracing::error!("a request ended in a panic: {e}");
            Err(Error::internal("the engine failed on this request; its log says more"))
        }
    }
}
