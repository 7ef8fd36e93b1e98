-- Names of the glossary. The level that was last notified of an alert; empty: none.
ALTER TABLE alerts RENAME COLUMN told TO notified_level;
-- When an endpoint was last sent something about a fingerprint, so that it is not repeated.
ALTER TABLE notification_told RENAME TO notification_last_sent;
-- The last probe of each site.
ALTER TABLE sitewatch_looks RENAME TO sitewatch_probes;
