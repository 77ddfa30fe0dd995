-- What readings of an entity of a system have proven, and when a flow was last carried out: columns instead of named notes.
CREATE TABLE reading (
    system TEXT NOT NULL,
    entity TEXT NOT NULL,
    -- Read completely at least once: what is already there is known.
    adopted INTEGER NOT NULL DEFAULT 0,
    -- Versions of mapping and adapter (64 bits without sign, as decimal digits) of the last whole reading.
    mapping TEXT,
    adapter TEXT,
    -- When the last whole reading began that went through.
    whole_at INTEGER,
    -- Counted by `counter`: up to where figures of stock tell of orders, and what is there besides (JSON).
    stock_since INTEGER,
    stock_listed INTEGER,
    stock_had TEXT,
    orders_before INTEGER,
    orders_last INTEGER,
    orders_heard INTEGER,
    PRIMARY KEY (system, entity)
) WITHOUT ROWID;
INSERT INTO reading (system, entity)
    SELECT DISTINCT substr(rest, 1, instr(rest, '/') - 1), substr(rest, instr(rest, '/') + 1)
    FROM (SELECT CASE WHEN name LIKE 'heard:%' THEN substr(name, 7) || '/order' ELSE substr(name, instr(name, ':') + 1) END AS rest
        FROM note WHERE name LIKE 'adopted:%/%' OR name LIKE 'reader:%/%' OR name LIKE 'whole:%/%' OR name LIKE 'read:%/%'
            OR name LIKE 'heard:%');
UPDATE reading SET adopted = 1 WHERE EXISTS (SELECT 1 FROM note n WHERE n.name = 'adopted:' || system || '/' || entity);
UPDATE reading SET mapping = n.value -> '$.mapping', adapter = n.value -> '$.adapter'
    FROM note n WHERE n.name = 'reader:' || system || '/' || entity;
UPDATE reading SET whole_at = CAST(round(unixepoch(n.value ->> '$', 'subsec') * 1000) AS INTEGER) * 1000
    FROM note n WHERE n.name = 'whole:' || system || '/' || entity;
UPDATE reading SET stock_since = n.value ->> '$.since', stock_listed = n.value ->> '$.listed', stock_had = n.value -> '$.had',
        orders_before = n.value ->> '$.before', orders_last = n.value ->> '$.last'
    FROM note n WHERE n.name = 'read:' || system || '/' || entity;
UPDATE reading SET orders_heard = n.value ->> '$' FROM note n WHERE entity = 'order' AND n.name = 'heard:' || system;

CREATE TABLE firing (
    flow TEXT PRIMARY KEY,
    delta_at INTEGER,
    full_at INTEGER
) WITHOUT ROWID;
INSERT INTO firing (flow) SELECT substr(name, 7) FROM note WHERE name LIKE 'fired:%'
    UNION SELECT substr(name, 12) FROM note WHERE name LIKE 'fired-full:%';
UPDATE firing SET delta_at = CAST(round(unixepoch(n.value ->> '$', 'subsec') * 1000) AS INTEGER) * 1000
    FROM note n WHERE n.name = 'fired:' || flow;
UPDATE firing SET full_at = CAST(round(unixepoch(n.value ->> '$', 'subsec') * 1000) AS INTEGER) * 1000
    FROM note n WHERE n.name = 'fired-full:' || flow;

DELETE FROM note WHERE name LIKE 'adopted:%' OR name LIKE 'reader:%' OR name LIKE 'whole:%' OR name LIKE 'read:%'
    OR name LIKE 'heard:%' OR name LIKE 'fired:%' OR name LIKE 'fired-full:%';
