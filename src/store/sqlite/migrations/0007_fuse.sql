-- The last changes of a record, without reading all of them: the fuse looks at our own writes before each next one.
DROP INDEX change_log_record;
CREATE INDEX change_log_record ON change_log (record, id);
