-- What a row that could not be read may be, as far as that is to be seen of it (JSON, absent where it may be anything), and
-- whether a person has put it aside. Rows of before hold nothing back.
ALTER TABLE rejection ADD COLUMN likes TEXT;
ALTER TABLE rejection ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;
UPDATE rejection SET likes = '[]';

-- Objects that a delivery has compared are told from those of a first contact by the delivery's number: whoever was known
-- before has been compared.
UPDATE replica SET written = 1 WHERE written = 0 AND gone_at IS NULL AND fields IS NOT NULL AND (SELECT value FROM counter) > 0;
