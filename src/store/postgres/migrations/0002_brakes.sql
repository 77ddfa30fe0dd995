-- The run that last opened a job: it decides whether the job may go, should it offend a brake.
ALTER TABLE job ADD COLUMN run BIGINT;
CREATE INDEX job_run ON job (run, id) WHERE state < 4;

-- ruling: NULL clear, 1 pending (jobs were opened, not ruled on yet), 2 held, 3 approved, 4 rejected.
ALTER TABLE run ADD COLUMN ruling SMALLINT;
CREATE INDEX run_ruling ON run (ruling) WHERE ruling IS NOT NULL;

-- The brakes that a run tripped at a target; `examples` is a JSON list.
CREATE TABLE brake (
    run BIGINT NOT NULL,
    target SMALLINT NOT NULL,
    name TEXT NOT NULL,
    offences BIGINT NOT NULL,
    base BIGINT NOT NULL,
    allowed TEXT NOT NULL,
    examples TEXT NOT NULL,
    PRIMARY KEY (run, target, name)
);
