-- All jobs of a record, open or not: what `explain` tells.
CREATE INDEX job_record ON job (record, id);
