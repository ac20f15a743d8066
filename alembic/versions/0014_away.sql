-- Beat asks twice a second whether somebody is at a provider. The table holds the code flows of a day, so the index is
-- made in the blink of an eye; the release before this one neither needs it nor minds it.

create index ix_connect_requests_expires_at on evergrant.connect_requests (expires_at) where used_at is null;
