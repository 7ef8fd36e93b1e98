-- Who may ask a server's Glances (JSON list of blocks, or "controller"; empty: everyone), and the one address that it listens
-- on (empty: as its profile says).
ALTER TABLE servers ADD COLUMN glances_allow TEXT NOT NULL DEFAULT '[]';
ALTER TABLE servers ADD COLUMN glances_bind TEXT NOT NULL DEFAULT '';
