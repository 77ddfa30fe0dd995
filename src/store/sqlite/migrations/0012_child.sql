-- Sub-objects with an id of their own at a system: variants, addresses. `member` is what a child's rows at all systems share, so
-- that a child whose key changes at one of them is still the same at the others; without it, `number` is.
CREATE TABLE child (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    member INTEGER,
    record INTEGER NOT NULL,
    system INTEGER NOT NULL,
    list INTEGER NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL
);
INSERT INTO child (record, system, list, key, id) SELECT record, system, list, key, id FROM part ORDER BY record, list, key, system;
CREATE INDEX child_record ON child (record, list, key);
UPDATE child SET member = (SELECT min(c.number) FROM child c WHERE c.record = child.record AND c.list = child.list AND c.key = child.key);
CREATE INDEX child_key ON child (system, list, key);
DROP TABLE part;
