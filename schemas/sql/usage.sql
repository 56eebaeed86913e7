-- What was decided per agent, day and outcome. The amount is billions times
-- 10^9, and rest, minor units of the currency: a sum of amounts soon is more
-- than 64 bits hold.
CREATE TABLE usage_v0 (
  account  TEXT        COLLATE "C" NOT NULL,
  agent    TEXT        COLLATE "C" NOT NULL,
  day      TIMESTAMPTZ NOT NULL, -- midnight UTC
  outcome  TEXT        COLLATE "C" NOT NULL,
  currency TEXT        COLLATE "C" NOT NULL, -- empty for decisions about no amount
  count    BIGINT      NOT NULL,
  billions BIGINT      NOT NULL,
  rest     BIGINT      NOT NULL,
  PRIMARY KEY (account, day, agent, outcome, currency)
);
