//! Configuration: which systems there are and what flows between them.
