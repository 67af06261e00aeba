//! placeholder

mod config;
mod readme;
