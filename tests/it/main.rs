//! placeholder
mod connect;
