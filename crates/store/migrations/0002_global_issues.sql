-- Health issues that are not of one sensor: of a domain, a component, or several sensors at once. Who looks after
-- one is its source; each source has one issue of a type about a subject, opened and closed over and over.
CREATE TABLE global_issues (
    id           TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    source       TEXT NOT NULL,
    issue_type   TEXT NOT NULL,
    subject      TEXT NOT NULL,
    is_open      SMALLINT NOT NULL,
    opened_at    BIGINT NOT NULL,
    issue        TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    UNIQUE (workspace_id, source, issue_type, subject)
);
