-- Everything lives in the schema `evergrant`, so it may share an application's database.

create table evergrant.installation (
    id smallint not null default 1,
    environment text not null,
    system_identifier text not null,   -- of the PostgreSQL cluster that was adopted
    database_name text not null,
    timeline text not null,            -- of its WAL
    adopted_at timestamptz not null default clock_timestamp(),
    adopted_by text not null,
    incident_no bigint not null default 0,
    incident_at timestamptz,           -- set: commits may be missing, journals are being replayed
    incident_reason text,
    constraint pk_installation primary key (id),
    constraint ck_installation_single check (id = 1)
);

-- Beat writes one every few seconds; a journal that noted one which is not here tells that commits are missing.
create table evergrant.ticks (
    id uuid not null,
    at timestamptz not null default clock_timestamp(),
    constraint pk_ticks primary key (id)
);
create index ix_ticks_at on evergrant.ticks (at);

create table evergrant.clients (
    id bigint generated always as identity,
    name text not null,
    provider text not null,            -- a provider file
    overrides jsonb not null default '{}',  -- what differs from that file
    client_id text not null,           -- RFC 6749 section 2.2
    sealed_client_secret bytea,
    credentials_no integer not null default 1,  -- +1 with every new secret or client_id
    redirect_uri text,
    scopes text[] not null default '{}',
    return_to text,
    keep text not null default 'warm',
    -- resolved from the provider file and the overrides, because statements need them
    rotation text not null,
    rate_per_minute double precision,
    burst integer not null,
    attempt_lease interval not null,
    grace interval,                    -- set: at this rotation
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint pk_clients primary key (id),
    constraint uq_clients_name unique (name),
    constraint ck_clients_name check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint ck_clients_keep check (keep in ('warm', 'on-demand')),
    constraint ck_clients_rotation check (rotation in ('none', 'on_use', 'grace', 'immediate', 'family')),
    constraint ck_clients_rate check (rate_per_minute > 0),
    constraint ck_clients_burst check (burst > 0)
);

-- The valve is apart from the client: it changes with every claim, and beat may see it without seeing a secret.
create table evergrant.valves (
    client_id bigint not null,
    next_slot_at timestamptz not null default clock_timestamp(),
    slot_no bigint not null default 0,
    paused_by_operator boolean not null default false,
    paused_until timestamptz,          -- set: shut, until a canary came back well
    pause_reason text,
    pause_seconds double precision not null default 0,  -- the present back-off of the canary
    changed_at timestamptz,            -- outcomes of requests begun before this do not count
    canary_grant_id uuid,              -- the last one
    strike_grant_ids uuid[] not null default '{}',  -- of the bad ends in a row, each grant once
    minute_at timestamptz,             -- start of the minute that the next two count
    minute_asked integer not null default 0,
    minute_bad integer not null default 0,
    minute_grant_ids uuid[] not null default '{}',  -- the first few of the bad ones
    last_success_at timestamptz,
    credentials_proven_no integer,     -- the newest credentials under which something succeeded
    deaths_held_at timestamptz,
    deaths_accepted_at timestamptz,
    constraint pk_valves primary key (client_id),
    constraint fk_valves_client_id foreign key (client_id) references evergrant.clients (id)
) with (fillfactor = 50);

create table evergrant.journals (
    id bigint generated always as identity,
    host text not null,
    process text not null,
    opened_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    drained_at timestamptz,
    abandoned_at timestamptz,
    abandoned_by text,
    replayed_incident bigint,          -- replayed as a whole for this incident of the installation
    constraint pk_journals primary key (id)
);

create table evergrant.grants (
    id uuid not null,
    client_id bigint not null,
    ref text not null,
    status text not null,
    reason text,
    generation bigint not null default 0,
    labels jsonb not null default '{}',
    keep text,                         -- null: as the client says
    scope text,
    sealed_refresh_token bytea,
    sealed_access_token bytea,
    refresh_fingerprint bytea,         -- keyed, of the refresh token
    access_expires_at timestamptz,
    older_access_ends_at timestamptz,  -- the last of the access tokens that were replaced
    life interval,                     -- of the token set held
    due_at timestamptz not null,
    claim_no bigint not null default 0,
    claimed_at timestamptz,
    started_at timestamptz,
    journal_id bigint,
    doubt_since timestamptz,
    doubt_journals bigint[] not null default '{}',
    doubt_repeated boolean not null default false,  -- an attempt after the one that doubt_since names has ended
    ever_in_doubt boolean not null default false,  -- since it was connected: a lost answer may hold a living pair
    predecessors_dropped boolean not null default false,  -- one that may live fell out of former_tokens
    suspect_at timestamptz,
    failures integer not null default 0,
    attempts integer not null default 0,  -- that ended without a token set since the last one
    failing_since timestamptz,
    failing_for interval not null default '0',  -- only time in which other grants of the client succeeded
    last_error_code text,
    last_error_http_status integer,
    last_error_at timestamptz,
    asked_at timestamptz,              -- the last answer or silence
    rejected_at timestamptz,           -- an application was refused with the access token held
    refreshed_at timestamptz,          -- start of the attempt that was answered with the token set held
    refreshed_credentials_no integer,
    created_at timestamptz not null default clock_timestamp(),
    constraint pk_grants primary key (id),
    constraint fk_grants_client_id foreign key (client_id) references evergrant.clients (id),
    constraint ck_grants_status check (status in ('active', 'paused', 'needs_consent', 'revoking', 'revoked')),
    constraint ck_grants_keep check (keep in ('warm', 'on-demand')),
    constraint ck_grants_generation check (generation >= 0),
    constraint ck_grants_ref check (length(ref) between 1 and 255)
)
-- A refresh changes its row three times, and each time the place in every index. The end of ix_grants_due where claims are
-- taken is where the dead entries gather, and each look of beat steps over them: so vacuum comes at 5 % of dead rows, not 20.
with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);
create unique index uq_grants_client_id_ref on evergrant.grants (client_id, ref)
    where status not in ('revoking', 'revoked');
create index ix_grants_due on evergrant.grants (client_id, due_at) where status = 'active';
create index ix_grants_under_way on evergrant.grants (client_id, due_at)
    where claimed_at is not null or started_at is not null;
create index ix_grants_failing on evergrant.grants (client_id, due_at) where status = 'active' and failures > 0;
create index ix_grants_suspects on evergrant.grants (client_id) where status = 'active' and suspect_at is not null;
create index ix_grants_in_doubt on evergrant.grants (client_id, due_at) where status = 'active' and doubt_since is not null;
create index ix_grants_doubt_journals on evergrant.grants using gin (doubt_journals) where doubt_since is not null;
create index ix_grants_ref on evergrant.grants (ref);
create index ix_grants_refresh_fingerprint on evergrant.grants (refresh_fingerprint);

create table evergrant.former_tokens (
    id bigint generated always as identity,
    grant_id uuid not null,
    kind text not null,
    generation bigint not null,        -- that it was, or was asked from
    sealed_refresh_token bytea not null,
    sealed_access_token bytea,
    refresh_fingerprint bytea not null,
    access_expires_at timestamptz,
    stored_at timestamptz not null default clock_timestamp(),
    tried_at timestamptz,
    known_dead_at timestamptz,
    constraint pk_former_tokens primary key (id),
    constraint fk_former_tokens_grant_id foreign key (grant_id) references evergrant.grants (id),
    constraint uq_former_tokens_grant_id_refresh_fingerprint unique (grant_id, refresh_fingerprint),
    constraint ck_former_tokens_kind check (kind in ('predecessor', 'surplus'))
);

create table evergrant.refresh_requests (
    id bigint generated always as identity,
    client_id bigint not null,
    grant_id uuid not null,
    generation bigint not null,        -- that the asker has seen
    rejected boolean not null default false,  -- the asker got a 401 for its access token
    requested_at timestamptz not null default clock_timestamp(),
    requested_by text not null default session_user,
    constraint pk_refresh_requests primary key (id),
    constraint fk_refresh_requests_grant_id foreign key (grant_id) references evergrant.grants (id)
);
-- A wish and a report apart, so that an asker only ever inserts; and not unique, so that none waits for another whose
-- transaction is open. Beat uses up all wishes of a grant at once.
create index ix_refresh_requests_grant_id_generation on evergrant.refresh_requests (grant_id, generation);
create index ix_refresh_requests_client_id_requested_at on evergrant.refresh_requests (client_id, requested_at);

create table evergrant.revocations (
    id bigint generated always as identity,
    client_id bigint not null,
    grant_id uuid not null,
    ref text not null,
    reason text,
    status text not null default 'queued',
    evidence text,
    idempotency_key text,
    requested_at timestamptz not null default clock_timestamp(),
    requested_by text not null default session_user,
    due_at timestamptz not null default clock_timestamp(),
    attempts integer not null default 0,
    failing_since timestamptz,
    last_error_code text,
    last_error_http_status integer,
    last_error_at timestamptz,
    current_dead_at timestamptz,       -- the pair that the grant's row holds is known dead
    done_at timestamptz,
    constraint pk_revocations primary key (id),
    constraint fk_revocations_grant_id foreign key (grant_id) references evergrant.grants (id),
    constraint uq_revocations_grant_id unique (grant_id),
    constraint uq_revocations_client_id_idempotency_key unique (client_id, idempotency_key),
    constraint ck_revocations_status check (status in ('queued', 'waiting', 'done', 'dead')),
    constraint ck_revocations_evidence check (evidence in ('verified', 'accepted', 'unsupported'))
);
create index ix_revocations_queued on evergrant.revocations (client_id, due_at) where status = 'queued';

-- A wish that nothing of a grant stays but its id, status and fingerprints, once it is dead.
create table evergrant.erasures (
    grant_id uuid not null,
    requested_at timestamptz not null default clock_timestamp(),
    requested_by text not null default session_user,
    erased_at timestamptz,
    constraint pk_erasures primary key (grant_id),
    constraint fk_erasures_grant_id foreign key (grant_id) references evergrant.grants (id)
);
create index ix_erasures_open on evergrant.erasures (requested_at) where erased_at is null;

create table evergrant.dead_letters (
    id bigint generated always as identity,
    kind text not null,
    client_id bigint not null,
    grant_id uuid not null,
    revocation_id bigint,
    ref text not null,
    generation bigint not null,
    cause text not null,
    detail text,
    attempts integer not null,
    first_failed_at timestamptz not null,
    dead_at timestamptz not null,
    resolved_at timestamptz,
    resolution text,
    resolved_by text,
    constraint pk_dead_letters primary key (id),
    constraint fk_dead_letters_grant_id foreign key (grant_id) references evergrant.grants (id),
    constraint fk_dead_letters_revocation_id foreign key (revocation_id) references evergrant.revocations (id),
    constraint ck_dead_letters_kind check (kind in ('refresh', 'revoke'))
);
create unique index uq_dead_letters_open on evergrant.dead_letters (grant_id, kind, cause) where resolved_at is null;

-- The outbox and the history: written with the change that it tells of.
create table evergrant.events (
    id bigint generated always as identity,
    type text not null,
    occurred_at timestamptz not null default clock_timestamp(),
    client_id bigint,
    grant_id uuid,
    ref text,
    generation bigint,
    labels jsonb not null default '{}',
    reason text,
    data jsonb not null default '{}',
    actor text,
    constraint pk_events primary key (id)
);
create index ix_events_grant_id_id on evergrant.events (grant_id, id);

create table evergrant.chores (
    name text not null,
    every interval not null,
    due_at timestamptz not null default clock_timestamp(),
    done_at timestamptz,
    constraint pk_chores primary key (name)
);
insert into evergrant.chores (name, every) values
    ('tell_late', '15 seconds'),          -- grants whose access token has ended
    ('tell_waiting', '1 minute'),         -- grants that wait for a journal
    ('shred_dead_grants', '1 hour'),      -- sealed tokens of a grant that died long ago
    ('erase', '10 seconds'),              -- whom a dead grant belonged to, where that was wished
    ('forget_connect_requests', '1 hour'),
    ('forget_silent_processes', '10 minutes');

create table evergrant.processes (
    id uuid not null,
    kind text not null,
    host text not null,
    pid integer not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    metrics_port integer,              -- on its own loopback; null: it serves none
    constraint pk_processes primary key (id),
    constraint ck_processes_kind check (kind in ('beat', 'worker', 'web'))
);

-- Who may use the token interface. The key is 32 random bytes, so its plain hash tells nothing.
create table evergrant.applications (
    id bigint generated always as identity,
    name text not null,
    client_id bigint,                  -- null: the grants of every client
    key_hash bytea not null,           -- SHA-256
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    constraint pk_applications primary key (id),
    constraint fk_applications_client_id foreign key (client_id) references evergrant.clients (id),
    constraint uq_applications_name unique (name),
    constraint ck_applications_name check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$')
);

create table evergrant.connect_requests (
    id uuid not null,                  -- becomes the grant's id when a new row is made
    client_id bigint not null,
    ref text not null,
    state_hash bytea not null,         -- SHA-256; the state itself is only in the URL
    sealed_verifier bytea not null,    -- PKCE, RFC 7636 section 4.1
    redirect_uri text not null,
    scopes text[] not null default '{}',
    labels jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    constraint pk_connect_requests primary key (id),
    constraint fk_connect_requests_client_id foreign key (client_id) references evergrant.clients (id),
    constraint uq_connect_requests_state_hash unique (state_hash)
);
