-- Since when our own name servers say nothing at all; no row: they do. What cannot be looked up meanwhile is their fault, not
-- that of the domains.
CREATE TABLE ns_resolvers_silent (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  since INTEGER NOT NULL
) STRICT;
