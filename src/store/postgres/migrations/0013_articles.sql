-- Articles that a rejected row names, a JSON list: only their stock waits for it. NULL: nobody can tell, so all of it waits.
ALTER TABLE rejection ADD COLUMN articles TEXT;
