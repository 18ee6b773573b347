//! Layers against the real kernel and against other programs' archives.

mod corpus;
mod cost;
mod differential;
mod generated;
mod hostile;
mod overlay;
mod scene;
mod store;
