-- Published rule packages. Their build date, in milliseconds, is their version.
CREATE TABLE rule_packages (
    build          BIGINT NOT NULL,
    workspace_id   TEXT NOT NULL REFERENCES workspaces (workspace_id),
    target_name    TEXT NOT NULL,
    target_sha256  TEXT NOT NULL,
    target_length  BIGINT NOT NULL,
    manifest       TEXT NOT NULL,
    published_at   BIGINT NOT NULL,
    pulled_back_at BIGINT,
    PRIMARY KEY (workspace_id, build)
);
