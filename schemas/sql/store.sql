-- What every view needs. Everything in this folder is PostgreSQL's; SQLite gets
-- it without COLLATE "C", which is what it does anyway, and without the lines
-- that end in "postgres only". Tables named _v0 are made once for each version
-- of their projection, with its number in place of the 0.

-- The versions of a projection there are. One of them serves.
CREATE TABLE IF NOT EXISTS views (
  projection TEXT    COLLATE "C" NOT NULL,
  version    INTEGER NOT NULL,
  serving    BOOLEAN NOT NULL,
  PRIMARY KEY (projection, version)
);

-- How far a version has come in each partition of the log.
CREATE TABLE IF NOT EXISTS checkpoints (
  projection TEXT        COLLATE "C" NOT NULL,
  version    INTEGER     NOT NULL,
  partition  INTEGER     NOT NULL,
  epoch      BIGINT      NOT NULL, -- of the log
  seq        BIGINT      NOT NULL, -- the newest event that is in the rows
  moved_at   TIMESTAMPTZ NOT NULL,
  stopped_at BIGINT      NOT NULL DEFAULT 0, -- the event that could not be applied
  reason     TEXT        NOT NULL DEFAULT '',
  PRIMARY KEY (projection, version, partition)
);
