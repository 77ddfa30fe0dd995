-- A field that a target holds otherwise than it was sent, as its own answer or a look right after the write has shown. Both
-- values stand in the replica, as long as its `sent` has the field; `mapping` is the version that the field was sent with.
CREATE TABLE difference (
    system INTEGER NOT NULL,
    record INTEGER NOT NULL,
    field TEXT NOT NULL,
    mapping INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (record, system, field)
) WITHOUT ROWID;
