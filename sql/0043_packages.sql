-- Where the packages that a server lacks come from: its own package sources, or a bundle that lies with the daemon.
ALTER TABLE servers ADD COLUMN packages TEXT NOT NULL DEFAULT 'sources' CHECK (packages IN ('sources', 'bundle'));
