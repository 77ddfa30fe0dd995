-- What readings of an entity of a system have proven, and when a flow was last carried out: columns instead of named notes.
CREATE TABLE reading (
    system TEXT NOT NULL,
    entity TEXT NOT NULL,
    -- Read completely at least once: what is already there is known.
    adopted BIGINT NOT NULL DEFAULT 0,
    -- Versions of mapping and adapter (64 bits without sign, as decimal digits) of the last whole reading.
    mapping TEXT,
    adapter TEXT,
    -- When the last whole reading began that went through.
    whole_at BIGINT,
    -- Counted by `counter`: up to where figures of stock tell of orders, and what is there besides (JSON).
    stock_since BIGINT,
    stock_listed BIGINT,
    stock_had TEXT,
    orders_before BIGINT,
    orders_last BIGINT,
    orders_heard BIGINT,
    PRIMARY KEY (system, entity)
);
INSERT INTO reading (system, entity)
    SELECT DISTINCT substr(rest, 1, strpos(rest, '/') - 1), substr(rest, strpos(rest, '/') + 1)
    FROM (SELECT CASE WHEN name LIKE 'heard:%' THEN substr(name, 7) || '/order' ELSE substr(name, strpos(name, ':') + 1) END AS rest
        FROM note WHERE name LIKE 'adopted:%/%' OR name LIKE 'reader:%/%' OR name LIKE 'whole:%/%' OR name LIKE 'read:%/%'
            OR name LIKE 'heard:%') noted;
UPDATE reading SET adopted = 1 WHERE EXISTS (SELECT 1 FROM note n WHERE n.name = 'adopted:' || system || '/' || entity);
UPDATE reading SET mapping = n.value::jsonb ->> 'mapping', adapter = n.value::jsonb ->> 'adapter'
    FROM note n WHERE n.name = 'reader:' || system || '/' || entity;
UPDATE reading SET whole_at = (extract(epoch FROM (n.value::jsonb #>> '{}')::timestamptz) * 1000000)::bigint
    FROM note n WHERE n.name = 'whole:' || system || '/' || entity;
UPDATE reading SET stock_since = (n.value::jsonb ->> 'since')::bigint, stock_listed = (n.value::jsonb ->> 'listed')::bigint,
        stock_had = (n.value::jsonb -> 'had')::text,
        orders_before = (n.value::jsonb ->> 'before')::bigint, orders_last = (n.value::jsonb ->> 'last')::bigint
    FROM note n WHERE n.name = 'read:' || system || '/' || entity;
UPDATE reading SET orders_heard = n.value::bigint FROM note n WHERE entity = 'order' AND n.name = 'heard:' || system;

CREATE TABLE firing (
    flow TEXT PRIMARY KEY,
    delta_at BIGINT,
    full_at BIGINT
);
INSERT INTO firing (flow) SELECT substr(name, 7) FROM note WHERE name LIKE 'fired:%'
    UNION SELECT substr(name, 12) FROM note WHERE name LIKE 'fired-full:%';
UPDATE firing SET delta_at = (extract(epoch FROM (n.value::jsonb #>> '{}')::timestamptz) * 1000000)::bigint
    FROM note n WHERE n.name = 'fired:' || flow;
UPDATE firing SET full_at = (extract(epoch FROM (n.value::jsonb #>> '{}')::timestamptz) * 1000000)::bigint
    FROM note n WHERE n.name = 'fired-full:' || flow;

DELETE FROM note WHERE name LIKE 'adopted:%' OR name LIKE 'reader:%' OR name LIKE 'whole:%' OR name LIKE 'read:%'
    OR name LIKE 'heard:%' OR name LIKE 'fired:%' OR name LIKE 'fired-full:%';
