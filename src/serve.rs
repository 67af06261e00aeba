//! The endpoints of the sidecar.

pub mod page;
