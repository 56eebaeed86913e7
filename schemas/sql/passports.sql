CREATE TABLE agents_v0 (
  account       TEXT        COLLATE "C" NOT NULL,
  agent         TEXT        COLLATE "C" NOT NULL,
  name          TEXT        NOT NULL,
  type          TEXT        NOT NULL,
  provider      TEXT        NOT NULL,
  label         TEXT        NOT NULL,
  external_id   TEXT        NOT NULL,
  status        TEXT        NOT NULL,
  driver        TEXT        NOT NULL,
  has_key       BOOLEAN     NOT NULL,
  shared        BOOLEAN     NOT NULL, -- the account's limits apply too
  limits        BYTEA, -- JSON
  version       BIGINT      NOT NULL, -- of the passport
  registered_at TIMESTAMPTZ NOT NULL,
  updated_at    TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (account, agent)
);

-- Every wording of every permission.
CREATE TABLE permissions_v0 (
  account       TEXT        COLLATE "C" NOT NULL,
  agent         TEXT        COLLATE "C" NOT NULL,
  permission_id TEXT        COLLATE "C" NOT NULL,
  version       BIGINT      NOT NULL, -- the event that gave it
  since         TIMESTAMPTZ NOT NULL,
  terms         BYTEA       NOT NULL, -- JSON
  ended_by      BIGINT      NOT NULL, -- the event that replaced or revoked it, 0 while it stands
  ended_at      TIMESTAMPTZ,
  revoked       BOOLEAN     NOT NULL,
  PRIMARY KEY (account, agent, permission_id, version)
);

CREATE TABLE members_v0 (
  account   TEXT        COLLATE "C" NOT NULL,
  member_id TEXT        COLLATE "C" NOT NULL,
  name      TEXT        NOT NULL,
  role      TEXT        NOT NULL,
  removed   BOOLEAN     NOT NULL,
  added_at  TIMESTAMPTZ NOT NULL,
  version   BIGINT      NOT NULL, -- the event that last changed it
  PRIMARY KEY (account, member_id)
);

-- Every event that changed a passport (agent), or an account (agent is empty).
CREATE TABLE changes_v0 (
  partition INTEGER     NOT NULL,
  seq       BIGINT      NOT NULL,
  account   TEXT        COLLATE "C" NOT NULL,
  agent     TEXT        COLLATE "C" NOT NULL,
  event_id  TEXT        NOT NULL,
  kind      TEXT        NOT NULL,
  at        TIMESTAMPTZ NOT NULL,
  actor     TEXT        NOT NULL,
  cause     TEXT        NOT NULL,
  record    BYTEA       NOT NULL, -- the event as it lies in the log
  PRIMARY KEY (account, seq)
);
CREATE INDEX changes_v0_agent ON changes_v0 (account, agent, seq);
