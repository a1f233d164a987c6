-- The client certificates of sensors: one active, at most one proposed, and those before that are still accepted.
-- `sensors.pin_sha256` stays what a sensor enrolled with.
CREATE TABLE certificates (
    pin_sha256    TEXT NOT NULL PRIMARY KEY,
    workspace_id  TEXT NOT NULL REFERENCES workspaces (workspace_id),
    sensor_id     TEXT NOT NULL REFERENCES sensors (id),
    role          TEXT NOT NULL,
    registered_at BIGINT NOT NULL,
    first_used_at BIGINT
);
CREATE INDEX certificates_by_sensor ON certificates (workspace_id, sensor_id);

INSERT INTO certificates (pin_sha256, workspace_id, sensor_id, role, registered_at, first_used_at)
SELECT pin_sha256, workspace_id, id, 'active', created_at, created_at FROM sensors;
