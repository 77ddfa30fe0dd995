-- What of an article is known to have been kept back from a target's stock for orders in flight: when less is, it is published
-- anew. `quantity` is a decimal.
CREATE TABLE held (
    system INTEGER NOT NULL,
    record INTEGER NOT NULL,
    quantity TEXT NOT NULL,
    PRIMARY KEY (system, record)
) WITHOUT ROWID;

-- Orders that were written since a stock reading began.
CREATE INDEX replica_written ON replica (system, entity, written) WHERE written > 0;
