-- Page views of a web server, and what they come to in each hour.
--
--   weir sql -f examples/access.sql
--   weir produce access examples/events.ndjson.gz
--   weir sql 'SELECT status, sum(n) FROM access_1h GROUP BY status ORDER BY 2 DESC'

CREATE STREAM IF NOT EXISTS access (
  event_id TEXT, event_type TEXT, user_id TEXT,
  method TEXT FROM '$.properties.method', path TEXT FROM '$.properties.path',
  status INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599) FROM '$.properties.status',
  bytes INTEGER CHECK (bytes >= 0) FROM '$.properties.bytes',
  ts TIMESTAMP FROM '$.timestamp',
  EVENT TIME ts DELAY 30m IDLE AFTER 30s,
  DEDUP KEY (event_id) WITHIN 7d
) PARTITIONS 4 BY user_id RETAIN 30d ON ERROR DEAD LETTER;

CREATE MATERIALIZED VIEW IF NOT EXISTS access_1h AS
  SELECT window_start, status, count(*) AS n, sum(bytes) AS bytes
  FROM TUMBLE(access, 1h) GROUP BY window_start, status LATENESS 7d EMIT CHANGES;
