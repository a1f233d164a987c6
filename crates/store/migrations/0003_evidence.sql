-- Evidence that sensors send up. The same portable SQL as before: text ids, BIGINT milliseconds, SMALLINT booleans.

-- How far each sensor's stream was taken. A sensor whose disk was lost begins another one; `ordinal` counts them.
CREATE TABLE evidence_streams (
    workspace_id  TEXT NOT NULL REFERENCES workspaces (workspace_id),
    sensor_id     TEXT NOT NULL REFERENCES sensors (id),
    stream        TEXT NOT NULL,
    ordinal       BIGINT NOT NULL,
    taken_through BIGINT NOT NULL,
    taken_at      BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, sensor_id, stream)
);

-- Ids begin with the alert's instant, so that the order of ids is the order of time.
CREATE TABLE alerts (
    id              TEXT NOT NULL,
    workspace_id    TEXT NOT NULL REFERENCES workspaces (workspace_id),
    sensor_id       TEXT NOT NULL REFERENCES sensors (id),
    sensor_alert_id TEXT NOT NULL,
    at              BIGINT NOT NULL,
    received_at     BIGINT NOT NULL,
    engine          TEXT NOT NULL,
    rule_id         TEXT NOT NULL,
    rule_title      TEXT NOT NULL,
    level           TEXT NOT NULL,
    status          TEXT NOT NULL,
    event           TEXT NOT NULL,
    devices         TEXT NOT NULL,
    has_packets     SMALLINT NOT NULL,
    PRIMARY KEY (workspace_id, id),
    UNIQUE (workspace_id, sensor_id, sensor_alert_id)
);
CREATE INDEX alerts_by_sensor ON alerts (workspace_id, sensor_id, id);
CREATE INDEX alerts_by_status ON alerts (workspace_id, status, id);

-- One row for each sensor that saw a device; `ordinal` and `through` say which word of that sensor it is.
CREATE TABLE devices (
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    device_key   TEXT NOT NULL,
    sensor_id    TEXT NOT NULL REFERENCES sensors (id),
    first_seen   BIGINT NOT NULL,
    last_seen    BIGINT NOT NULL,
    device       TEXT NOT NULL,
    search_text  TEXT NOT NULL,
    ordinal      BIGINT NOT NULL,
    through      BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, device_key, sensor_id)
);
CREATE INDEX devices_by_sensor ON devices (workspace_id, sensor_id, last_seen);
CREATE INDEX devices_by_age ON devices (workspace_id, last_seen);
