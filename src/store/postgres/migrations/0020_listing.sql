-- When each entity of a system was last listed, and last listed well, is asked whenever somebody asks how things are.
CREATE INDEX run_listed ON run (system, entity, kind, id) WHERE finished_at IS NOT NULL AND kind < 2;
CREATE INDEX run_listed_well ON run (system, entity, kind, id) WHERE finished_at IS NOT NULL AND kind < 2 AND error IS NULL;
