//! Layers against the real kernel and against other programs' archives.

mod differential;
mod hostile;
mod overlay;
mod scene;
mod store;
