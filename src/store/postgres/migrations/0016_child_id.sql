-- Whose child an id is already is asked with every write that is answered with ids.
CREATE INDEX child_id ON child (system, list, id);
