-- Newcomers in quarantine: hosts that call themselves as an enrolled one does and hold another key.
CREATE TABLE newcomers (
    workspace_id  TEXT NOT NULL REFERENCES workspaces (workspace_id),
    pin_sha256    TEXT NOT NULL,
    sensor_id     TEXT NOT NULL REFERENCES sensors (id),
    host_id       TEXT NOT NULL,
    enrolment_id  TEXT NOT NULL,
    asked_from    TEXT NOT NULL,
    facts         TEXT NOT NULL,
    first_at      BIGINT NOT NULL,
    last_at       BIGINT NOT NULL,
    attempts      BIGINT NOT NULL,
    refused_at    BIGINT,
    PRIMARY KEY (workspace_id, pin_sha256)
);
