//! Smart modules for Millrace, in Rust: docs/modules.md. A filter is
//!
//! ```
//! use millrace::*;
//! filter!(errors, |record| contains(record.value(), b"error"));
//! ```
//!
//! compiled to a `cdylib` for `wasm32-wasip1` (Debian's rustc: `wasm32-wasi`). Each kind has a macro, which takes the
//! transform's name and a closure, or a type that keeps what it made of its parameters:
//!
//! ```text
//! filter!     |record| -> bool                  or a type with trait Filter
//! map!        |record, out| -> ()                                    Map
//! filter_map! |record, out| -> bool                                  FilterMap
//! expand!     |record, emit| -> ()                                   Expand
//! aggregate!  |record, state, emit| -> ()                            Aggregate
//! scalar!     |a: &str, b: i64, c: Option<f64>| -> String { … }
//! ```
//!
//! A closure that can fail says so: `|record| -> Result<bool> { … }`. A record that fails leaves nothing behind: neither
//! what it emitted, nor its state. `filter!(name, Type, look_back)` gives the type the topic's last records first.

pub mod abi;
pub mod json;
#[doc(hidden)]
pub mod kinds;
mod record;
mod scalar;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use kinds::{Aggregate, Emit, Expand, Filter, FilterMap, Map, Transform};
pub use record::*;
pub use scalar::{Argument, ScalarResult};
