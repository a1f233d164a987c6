-- Portable SQL: text ids, times as BIGINT milliseconds, booleans as SMALLINT 0 or 1, JSON as text.
-- Every table carries the workspace its rows belong to.

CREATE TABLE workspaces (
    workspace_id TEXT NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE sites (
    id           TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    name         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    UNIQUE (workspace_id, name)
);

CREATE TABLE zones (
    id           TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    site_id      TEXT NOT NULL REFERENCES sites (id),
    name         TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    UNIQUE (workspace_id, site_id, name)
);

CREATE TABLE users (
    id           TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    name         TEXT NOT NULL,
    role         TEXT NOT NULL,
    is_enabled   SMALLINT NOT NULL,
    created_at   BIGINT NOT NULL,
    UNIQUE (workspace_id, name)
);

-- One-time secrets that open a session. Only the hash is kept.
CREATE TABLE sign_in_secrets (
    secret_sha256 TEXT NOT NULL PRIMARY KEY,
    workspace_id  TEXT NOT NULL REFERENCES workspaces (workspace_id),
    user_id       TEXT NOT NULL REFERENCES users (id),
    created_at    BIGINT NOT NULL,
    used_at       BIGINT
);

CREATE TABLE sessions (
    id               TEXT NOT NULL PRIMARY KEY,
    workspace_id     TEXT NOT NULL REFERENCES workspaces (workspace_id),
    user_id          TEXT NOT NULL REFERENCES users (id),
    reference_sha256 TEXT NOT NULL UNIQUE,
    created_at       BIGINT NOT NULL,
    used_at          BIGINT NOT NULL
);

CREATE TABLE api_tokens (
    id            TEXT NOT NULL PRIMARY KEY,
    workspace_id  TEXT NOT NULL REFERENCES workspaces (workspace_id),
    name          TEXT NOT NULL,
    role          TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL UNIQUE,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT
);

CREATE TABLE access_keys (
    secret_sha256 TEXT NOT NULL PRIMARY KEY,
    workspace_id  TEXT NOT NULL REFERENCES workspaces (workspace_id),
    created_at    BIGINT NOT NULL,
    retired_at    BIGINT
);

CREATE TABLE sensors (
    id             TEXT NOT NULL PRIMARY KEY,
    workspace_id   TEXT NOT NULL REFERENCES workspaces (workspace_id),
    zone_id        TEXT NOT NULL REFERENCES zones (id),
    name           TEXT NOT NULL,
    pin_sha256     TEXT NOT NULL UNIQUE,
    created_at     BIGINT NOT NULL,
    last_seen_at   BIGINT,
    last_pulled_at BIGINT,
    facts          TEXT NOT NULL,
    report         TEXT NOT NULL,
    update_record  TEXT NOT NULL,
    revision       BIGINT NOT NULL
);
CREATE INDEX sensors_by_workspace ON sensors (workspace_id, id);

CREATE TABLE enrolments (
    enrolment_id TEXT NOT NULL,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    sensor_id    TEXT NOT NULL REFERENCES sensors (id),
    pin_sha256   TEXT NOT NULL,
    host_id      TEXT NOT NULL,
    enrolled_at  BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, enrolment_id)
);
CREATE INDEX enrolments_by_host ON enrolments (workspace_id, host_id);

CREATE TABLE releases (
    version        TEXT NOT NULL,
    workspace_id   TEXT NOT NULL REFERENCES workspaces (workspace_id),
    target_name    TEXT NOT NULL,
    target_sha256  TEXT NOT NULL,
    target_length  BIGINT NOT NULL,
    manifest       TEXT NOT NULL,
    published_at   BIGINT NOT NULL,
    pulled_back_at BIGINT,
    PRIMARY KEY (workspace_id, version)
);

CREATE TABLE rollouts (
    version      TEXT NOT NULL,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    state        TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, version)
);

-- What happened in each rollout, in order.
CREATE TABLE rollout_events (
    seq          BIGINT NOT NULL,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    version      TEXT NOT NULL,
    at           BIGINT NOT NULL,
    sensor_id    TEXT,
    event        TEXT NOT NULL,
    PRIMARY KEY (workspace_id, seq)
);
CREATE INDEX rollout_events_by_version ON rollout_events (workspace_id, version, seq);

CREATE TABLE health_issues (
    id           TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    sensor_id    TEXT NOT NULL REFERENCES sensors (id),
    issue_type   TEXT NOT NULL,
    is_open      SMALLINT NOT NULL,
    opened_at    BIGINT NOT NULL,
    issue        TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    UNIQUE (workspace_id, sensor_id, issue_type)
);

-- Append-only. `hash` and `previous_hash` are for the chain that makes tampering show.
CREATE TABLE audit (
    seq           BIGINT NOT NULL,
    id            TEXT NOT NULL UNIQUE,
    workspace_id  TEXT NOT NULL REFERENCES workspaces (workspace_id),
    at            BIGINT NOT NULL,
    actor         TEXT NOT NULL,
    action        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    before_json   TEXT,
    after_json    TEXT,
    reason        TEXT,
    previous_hash TEXT,
    hash          TEXT,
    PRIMARY KEY (workspace_id, seq)
);

CREATE TABLE settings (
    name         TEXT NOT NULL,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    value        TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, name)
);
