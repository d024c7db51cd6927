-- What messages of streams are sealed with: see seal.c. Without a policy only the owner and superusers
-- see it, and not those who may read all data.
CREATE TABLE braid_internal.seals (
	key bytea NOT NULL CHECK (length(key) = 16)
);
COMMENT ON TABLE braid_internal.seals IS
'The secret, in one row, that proves to readers that a message in the log was written by a stream.';
ALTER TABLE braid_internal.seals ENABLE ROW LEVEL SECURITY;
INSERT INTO braid_internal.seals VALUES (uuid_send(gen_random_uuid()));
