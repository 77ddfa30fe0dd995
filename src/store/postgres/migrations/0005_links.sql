-- What is known of the tie between a record and its object at a system, where it is not simply one of one key. state: 0 linked,
-- 1 paused, 2 ignored. `rule` is the match field that tied them, or `person`; `score` is in percent.
CREATE TABLE link (
    record BIGINT NOT NULL,
    system SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    rule TEXT,
    score BIGINT,
    PRIMARY KEY (record, system)
);

-- Records that are not one, whatever their fields say: a person has decided so. The smaller number stands first.
CREATE TABLE apart (
    one BIGINT NOT NULL,
    other BIGINT NOT NULL,
    PRIMARY KEY (one, other)
);
