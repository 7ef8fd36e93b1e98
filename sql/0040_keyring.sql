-- The same data keys under the next master key, while one replaces the other.
ALTER TABLE keyring ADD COLUMN next BLOB;
