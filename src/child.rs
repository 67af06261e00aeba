//! Another program: [`Program::find`] looks it up, [`Program::replace`] becomes it (`schemagate run`).

mod error;
mod header;
mod program;

pub use error::{Error, Unusable};
pub use header::Machine;
pub use program::{Env, Program};
