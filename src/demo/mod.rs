//! A hardware shop in a folder: an ERP in a SQLite file, price and stock files it drops, a shop of its own, and a life of
//! small changes on both sides, to watch the daemon at work without installing anything.

mod compare;
mod drop;
mod erp;
mod generate;
