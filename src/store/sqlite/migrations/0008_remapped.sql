-- Whether the run was the first whole reading with another mapping or adapter: it decides over a brake of its own.
ALTER TABLE run ADD COLUMN remapped INTEGER NOT NULL DEFAULT 0;
