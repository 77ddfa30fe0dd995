-- What is known of the tie between a record and its object at a system, where it is not simply one of one key. state: 0 linked,
-- 1 paused, 2 ignored. `rule` is the match field that tied them, or `person`; `score` is in percent.
CREATE TABLE link (
    record INTEGER NOT NULL,
    system INTEGER NOT NULL,
    state INTEGER NOT NULL,
    rule TEXT,
    score INTEGER,
    PRIMARY KEY (record, system)
) WITHOUT ROWID;

-- Records that are not one, whatever their fields say: a person has decided so. The smaller number stands first.
CREATE TABLE apart (
    one INTEGER NOT NULL,
    other INTEGER NOT NULL,
    PRIMARY KEY (one, other)
) WITHOUT ROWID;
