-- A field that a target holds otherwise than it was sent, as its own answer or a look right after the write has shown. Both
-- values stand in the replica, as long as its `sent` has the field; `mapping` is the version that the field was sent with.
CREATE TABLE difference (
    system SMALLINT NOT NULL,
    record BIGINT NOT NULL,
    field TEXT NOT NULL,
    mapping BIGINT NOT NULL,
    accepted SMALLINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (record, system, field)
);
