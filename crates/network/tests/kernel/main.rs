//! The room against the real kernel. Every test has a network namespace of its own as its "host", and others as its LAN
//! and its containers; the machine's own network is never touched.

mod isolation;
mod lifecycle;
mod ports;
mod world;
