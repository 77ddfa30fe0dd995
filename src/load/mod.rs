//! Strict reading of TOML files: every problem names file, line, column and, where one is near, the word meant.
