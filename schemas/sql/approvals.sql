CREATE TABLE approvals_v0 (
  partition     INTEGER     NOT NULL,
  seq           BIGINT      NOT NULL, -- the decision that opened it
  account       TEXT        COLLATE "C" NOT NULL,
  agent         TEXT        COLLATE "C" NOT NULL,
  approval_id   TEXT        COLLATE "C" NOT NULL,
  request_id    TEXT        NOT NULL,
  used_by       TEXT        NOT NULL,
  permission_id TEXT        COLLATE "C" NOT NULL,
  state         TEXT        COLLATE "C" NOT NULL, -- as recorded; open ones are over from expires_at on
  risk          TEXT        NOT NULL,
  action        TEXT        NOT NULL,
  digest        TEXT        NOT NULL,
  min_role      TEXT        NOT NULL,
  quorum        INTEGER     NOT NULL,
  opened_at     TIMESTAMPTZ NOT NULL,
  expires_at    TIMESTAMPTZ NOT NULL,
  resolved_at   TIMESTAMPTZ,
  resolved_by   TEXT        NOT NULL,
  comment       TEXT        NOT NULL,
  shared        BOOLEAN     NOT NULL,
  reminders     INTEGER     NOT NULL,
  version       BIGINT      NOT NULL, -- the event that last changed it
  record        BYTEA       NOT NULL, -- the decision that opened it
  PRIMARY KEY (account, approval_id)
);
CREATE INDEX approvals_v0_account ON approvals_v0 (account, seq);
CREATE INDEX approvals_v0_agent ON approvals_v0 (account, agent, seq);

CREATE TABLE votes_v0 (
  account     TEXT        COLLATE "C" NOT NULL,
  approval_id TEXT        COLLATE "C" NOT NULL,
  member_id   TEXT        COLLATE "C" NOT NULL,
  seq         BIGINT      NOT NULL,
  at          TIMESTAMPTZ NOT NULL,
  comment     TEXT        NOT NULL,
  self        BOOLEAN     NOT NULL,
  PRIMARY KEY (account, approval_id, member_id)
);
