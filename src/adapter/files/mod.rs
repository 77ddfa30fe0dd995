//! Driver `files`: CSV, XML and JSON files of one folder as sources and targets. See `docs/adapters.md`.

mod csv;
mod json;
mod rows;
mod text;
mod xml;
