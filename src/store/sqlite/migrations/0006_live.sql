-- What a system is known to have, by number: a full pull walks it in slices to find what is gone.
CREATE INDEX replica_live ON replica (system, entity, number) WHERE gone_at IS NULL AND fields IS NOT NULL;
