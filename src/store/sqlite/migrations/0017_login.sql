-- Refresh tokens that a service gave instead of the one it was shown: each is good for one use, by one process.
CREATE TABLE login (
    name TEXT PRIMARY KEY,
    system TEXT NOT NULL,
    value TEXT NOT NULL,
    fence INTEGER NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
