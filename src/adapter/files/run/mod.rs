//! The compiled program at work: files that are taken, read row by row, written and removed, and the configured system
//! that the engine sees.
//!
//! [`system`] leads: it is the [`System`](crate::port::System), and opens itself by compiling a manifest. [`reading`]
//! takes files and reads pages of them, [`writing`] writes; both touch the disk through [`folder`] alone. [`csv`],
//! [`xml`] and [`json`] give the [`rows`] of a file, [`group`] puts rows together, [`picking`] makes source rows of
//! them. Called through `adapter::open` only.

mod cells;
mod csv;
mod folder;
mod group;
mod json;
mod picking;
mod reading;
mod rows;
mod system;
mod text;
mod writing;
mod xml;

pub use system::open;
