//! placeholder
mod sql;
