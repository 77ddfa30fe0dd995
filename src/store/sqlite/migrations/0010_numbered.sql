-- Keys that each system gives by itself are apart: `system` is the one that numbered the record. 0: the key means the same
-- everywhere, or nobody knows yet whose number it is, as of records that an earlier version made. Negative: a system has several
-- objects of the number, and nobody knows whose this one is.
ALTER TABLE record ADD COLUMN system INTEGER NOT NULL DEFAULT 0;
DROP INDEX record_key;
CREATE UNIQUE INDEX record_key ON record (entity, key, system) WHERE key IS NOT NULL;
