-- One row per decision. The columns are there to be searched; record is the
-- event as it lies in the log, to the byte. Nothing is unique by a constraint:
-- the checkpoint adds each event once, and an index less is speed.
CREATE TABLE decisions_v0 (
  partition        INTEGER     NOT NULL,
  seq              BIGINT      NOT NULL,
  account          TEXT        COLLATE "C" NOT NULL,
  agent            TEXT        COLLATE "C" NOT NULL,
  request_id       TEXT        COLLATE "C" NOT NULL,
  decided_at       TIMESTAMPTZ NOT NULL,
  logged_at        TIMESTAMPTZ NOT NULL,
  outcome          TEXT        COLLATE "C" NOT NULL,
  reason_code      TEXT        COLLATE "C" NOT NULL,
  reason           TEXT        COLLATE "C" NOT NULL,
  risk             TEXT        COLLATE "C" NOT NULL,
  action           TEXT        COLLATE "C" NOT NULL,
  vendor           TEXT        COLLATE "C" NOT NULL,
  resource         TEXT        COLLATE "C" NOT NULL,
  amount           TEXT        COLLATE "C" NOT NULL, -- empty for none
  amount_minor     BIGINT, -- in minor units of currency, null for none
  currency         TEXT        COLLATE "C" NOT NULL,
  path             TEXT        COLLATE "C" NOT NULL,
  command          TEXT        COLLATE "C" NOT NULL,
  permission_id    TEXT        COLLATE "C" NOT NULL,
  approval_id      TEXT        COLLATE "C" NOT NULL,
  passport_version BIGINT      NOT NULL,
  arguments_digest TEXT        COLLATE "C" NOT NULL,
  spends           BOOLEAN     NOT NULL,
  uses             BOOLEAN     NOT NULL,
  opens            BOOLEAN     NOT NULL,
  settled          TEXT        COLLATE "C" NOT NULL, -- what came of an allow, empty while nothing was reported
  settled_amount   TEXT        COLLATE "C" NOT NULL,
  settled_at       TIMESTAMPTZ,
  record           BYTEA       NOT NULL
)
PARTITION BY RANGE (decided_at) -- postgres only
;

-- The newest of an account, and of an agent. An account is in one partition. The
-- outcome and the time are there to be looked at before the row is: an agent's rows
-- lie far apart. The agent comes first, as it is what tells most of them apart.
CREATE INDEX decisions_v0_account ON decisions_v0 (account, seq);
CREATE INDEX decisions_v0_agent ON decisions_v0 (agent, account, seq, outcome, decided_at);
CREATE INDEX decisions_v0_request ON decisions_v0 (request_id);

-- Where in the log the decisions of an account and a day lie (UTC). Time and
-- sequence run side by side, but not exactly; this is what turns a range of time
-- into one of sequences, so that an index finds its rows.
CREATE TABLE days_v0 (
  account   TEXT        COLLATE "C" NOT NULL,
  day       TIMESTAMPTZ NOT NULL, -- midnight UTC
  first_seq BIGINT      NOT NULL,
  last_seq  BIGINT      NOT NULL,
  PRIMARY KEY (account, day)
);
