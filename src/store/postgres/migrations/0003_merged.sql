-- The merged value of a record's shared fields: what its systems are to agree on. `revision` grows with every write, so that
-- two pages never merge into the same row unseen.
CREATE TABLE merged (
    record BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL,
    fields TEXT NOT NULL
);

-- A field in which a system and the others differ and nobody decided yet. kind: 0 conflict (`base` is what they last agreed
-- on), 1 drift (`base` is what the owner had delivered).
CREATE TABLE conflict (
    record BIGINT NOT NULL,
    system SMALLINT NOT NULL,
    field TEXT NOT NULL,
    kind SMALLINT NOT NULL,
    base TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (record, system, field)
);
