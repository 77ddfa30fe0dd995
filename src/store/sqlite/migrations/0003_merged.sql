-- The merged value of a record's shared fields: what its systems are to agree on. `revision` grows with every write, so that
-- two pages never merge into the same row unseen.
CREATE TABLE merged (
    record INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    fields TEXT NOT NULL
);

-- A field in which a system and the others differ and nobody decided yet. kind: 0 conflict (`base` is what they last agreed
-- on), 1 drift (`base` is what the owner had delivered).
CREATE TABLE conflict (
    record INTEGER NOT NULL,
    system INTEGER NOT NULL,
    field TEXT NOT NULL,
    kind INTEGER NOT NULL,
    base TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (record, system, field)
) WITHOUT ROWID;
