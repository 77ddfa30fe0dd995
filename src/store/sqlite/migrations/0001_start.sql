-- Times are microseconds since 1970 (UTC); system and entity names are numbers of `name`.

CREATE TABLE name (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
);

-- The hub's identity of a business object. Without key: a placeholder that a reference by id has made.
-- `same` is set on a placeholder that turned out to be another record; references to it stay valid.
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    entity INTEGER NOT NULL,
    key TEXT,
    same INTEGER
);
CREATE UNIQUE INDEX record_key ON record (entity, key) WHERE key IS NOT NULL;
CREATE INDEX record_same ON record (same) WHERE same IS NOT NULL;

-- What a system is known to hold. Without `fields`: a placeholder of which only the id is known.
CREATE TABLE replica (
    number INTEGER PRIMARY KEY,
    system INTEGER NOT NULL,
    entity INTEGER NOT NULL,
    record INTEGER NOT NULL,
    id TEXT NOT NULL,
    print TEXT,
    gone_at INTEGER,
    written INTEGER NOT NULL DEFAULT 0,
    version TEXT,
    fields TEXT,
    sent TEXT
);
CREATE UNIQUE INDEX replica_id ON replica (system, entity, id);
CREATE UNIQUE INDEX replica_record ON replica (record, system);

CREATE TABLE part (
    system INTEGER NOT NULL,
    list INTEGER NOT NULL,
    key TEXT NOT NULL,
    record INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (system, list, key, record)
) WITHOUT ROWID;
CREATE INDEX part_record ON part (record, system);

CREATE TABLE match_value (
    entity INTEGER NOT NULL,
    field INTEGER NOT NULL,
    value TEXT NOT NULL,
    record INTEGER NOT NULL,
    system INTEGER NOT NULL,
    PRIMARY KEY (entity, field, value, record, system)
) WITHOUT ROWID;
CREATE INDEX match_value_record ON match_value (record, system);

-- op: 0 create, 1 update, 2 delete; cause_kind: 0 run, 1 job.
CREATE TABLE change_log (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL,
    system INTEGER NOT NULL,
    op INTEGER NOT NULL,
    cause_kind INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    at INTEGER NOT NULL,
    fields TEXT NOT NULL
);
CREATE INDEX change_log_record ON change_log (record);

-- state: 0 queued, 1 running, 2 parked, 3 dead (these are open), 4 done, 5 discarded.
-- `due` of a running job is the end of its lease, so that what can be claimed is one range of one index.
CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    target INTEGER NOT NULL,
    entity INTEGER NOT NULL,
    record INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    state INTEGER NOT NULL,
    again INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    owner TEXT,
    intent TEXT,
    cause TEXT,
    error TEXT,
    error_class TEXT
);
CREATE UNIQUE INDEX job_open ON job (record, target) WHERE state < 4;
CREATE INDEX job_claim ON job (target, lane, entity, due, id) WHERE state < 2;
CREATE INDEX job_parked ON job (target, cause) WHERE state = 2;
CREATE INDEX job_dead ON job (target) WHERE state = 3;

CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL,
    at INTEGER NOT NULL,
    op TEXT NOT NULL,
    outcome TEXT NOT NULL,
    message TEXT,
    status INTEGER,
    requests INTEGER NOT NULL,
    millis INTEGER NOT NULL
);
CREATE INDEX attempt_job ON attempt (job);

CREATE TABLE cursor (
    system INTEGER NOT NULL,
    entity INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (system, entity)
) WITHOUT ROWID;

-- kind: 0 delta, 1 full.
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    system INTEGER NOT NULL,
    entity INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    cause TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    seen INTEGER NOT NULL DEFAULT 0,
    unchanged INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    gone INTEGER NOT NULL DEFAULT 0,
    error TEXT
);

-- `slot` is the row's id, or its position where it has none: a row rejected twice is one rejection.
CREATE TABLE rejection (
    system INTEGER NOT NULL,
    entity INTEGER NOT NULL,
    slot TEXT NOT NULL,
    position TEXT NOT NULL,
    id TEXT,
    field TEXT,
    reason TEXT NOT NULL,
    cause TEXT,
    run INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (system, entity, slot)
) WITHOUT ROWID;

CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE standing (
    system TEXT PRIMARY KEY,
    until INTEGER,
    failures INTEGER NOT NULL,
    reason TEXT
) WITHOUT ROWID;

CREATE TABLE demand (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    verb TEXT NOT NULL,
    scope TEXT NOT NULL,
    at INTEGER NOT NULL
);

CREATE TABLE note (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row: how many deliveries there were.
CREATE TABLE counter (
    value INTEGER NOT NULL
);
INSERT INTO counter VALUES (0);
