-- What a failed deploy has left on its server, as the job told.
ALTER TABLE domain_sites ADD COLUMN stands TEXT NOT NULL DEFAULT '';      -- of state failed: untouched, back, empty, red, stuck, new, gone or unseen
ALTER TABLE domain_sites ADD COLUMN issued INTEGER NOT NULL DEFAULT 0;    -- 1: a certificate was issued before it failed
UPDATE domain_sites SET stands = 'unseen' WHERE state = 'failed';
