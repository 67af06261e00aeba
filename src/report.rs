//! What people and machines are told: the log's lines, the end of a run, the sum of a run, the tables of `status`.

pub mod doctor;
pub mod finding;
pub mod github;
pub mod journal;
pub mod lint;
pub mod log;
pub mod marker;
pub mod plan;
pub mod sarif;
pub mod status;
pub mod summary;
pub mod termination;
pub mod verify;
