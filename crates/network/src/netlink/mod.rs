//! Netlink as the kernel reads it: messages of attributes, many of them in one `sendmsg`.

pub mod message;
pub mod nft;
pub mod route;
pub mod socket;

pub use message::{Attributes, Batch};
pub use socket::{Failure, NETFILTER, Pool, ROUTE, Socket};
