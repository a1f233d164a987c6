-- The plans of rollouts: each is written once and never changed; other facts make another one, with the next number.
CREATE TABLE rollout_plans (
    workspace_id TEXT NOT NULL REFERENCES workspaces (workspace_id),
    version      TEXT NOT NULL,
    generation   BIGINT NOT NULL,
    made_at      BIGINT NOT NULL,
    plan         TEXT NOT NULL,
    PRIMARY KEY (workspace_id, version, generation)
);

-- What people have set about rollouts: pace, coverage, restarts.
CREATE TABLE rollout_settings (
    workspace_id TEXT PRIMARY KEY REFERENCES workspaces (workspace_id),
    settings     TEXT NOT NULL
);
