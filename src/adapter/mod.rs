//! Drivers and manifests: how one kind of system is talked to, declared in TOML.
