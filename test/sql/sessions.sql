-- SESSION: with keys and without, bridges, rows exactly a gap apart, equal times, NULLs, infinities, DATE and TIMESTAMPTZ.
CREATE TABLE e(id BIGINT, k INTEGER, g VARCHAR, v INTEGER, ts TIMESTAMP, tz TIMESTAMPTZ, d DATE);
INSERT INTO e VALUES
  (1, 1, 'a', 10, '2024-01-01 00:00:00', '2024-01-01 00:00:00+00', '2024-01-01'),
  (2, 1, 'a', 20, '2024-01-01 00:10:00', '2024-01-01 01:10:00+01', '2024-01-02'),
  (3, 1, 'b', 30, '2024-01-01 00:20:00.000001', '2024-01-01 00:30:00+00', '2024-01-04'),
  (4, 2, 'a', 5, '2024-01-01 00:05:00', '2024-01-01 00:05:00+00', '2024-01-04'),
  (5, 2, 'b', NULL, '2024-01-01 00:25:00', '2024-01-01 00:25:00+00', NULL),
  (6, 2, 'a', 7, '2024-01-01 00:15:00', '2024-01-01 00:15:00+00', '2024-03-31'),
  (7, NULL, 'a', 1, '2024-01-01 00:00:00', NULL, '2024-01-03'),
  (8, NULL, NULL, 2, '2024-01-01 00:00:01', '2024-01-01 00:00:01+00', '1969-12-31'),
  (9, 1, 'a', 9, NULL, NULL, NULL), (10, NULL, 'b', 8, NULL, '2024-06-01 00:00:00+00', NULL),
  (11, 3, 'b', 3, '1969-12-31 23:55:00', '1969-12-31 23:55:00+00', '1969-12-31'), (12, 3, 'b', 4, '1970-01-01 00:05:00', '1970-01-01 00:05:00+00', '1970-01-01'),
  (13, 1, 'a', 10, '2024-01-01 00:10:00', '2024-01-01 00:10:00+00', '2024-01-05'), (14, 1, 'a', 10, '2024-01-01 00:11:00', '2024-01-01 00:11:00+00', '2024-01-06'),
  (14, 1, 'a', 10, '2024-01-01 00:11:00', '2024-01-01 00:11:00+00', '2024-01-06'), (15, 4, 'c', 1, 'infinity', 'infinity', 'infinity'), (16, 4, 'c', 1, '-infinity', '-infinity', '-infinity');
SELECT * FROM SESSION(e, ts, INTERVAL '10 minutes', k);
SELECT * FROM SESSION(e, ts, INTERVAL '5 minutes');
SELECT * FROM SESSION(e, ts, INTERVAL '15 minutes', k, g);
SELECT k, window_start, window_end, count(*) AS n, sum(v) AS s, max(v) AS m FROM SESSION(e, ts, INTERVAL '10 minutes', k) GROUP BY k, window_start, window_end;
SELECT g, window_end, list(id ORDER BY id) AS ids FROM SESSION(e, tz, INTERVAL '10 minutes', g) GROUP BY g, window_end;
SELECT CAST(window_start AS TIMESTAMP) AS w, count(*) AS n FROM SESSION(e, d, INTERVAL '1 day') GROUP BY w;
SELECT k, id FROM SESSION(e, ts, INTERVAL '1 minute', k);
SELECT count(*) AS sessions, avg(n) AS per FROM (SELECT count(*) AS n FROM SESSION(e, ts, INTERVAL '10 minutes', k) GROUP BY k, window_start);
SELECT k, window_end - window_start AS lasts FROM SESSION(e, ts, INTERVAL '10 minutes', k) WHERE k = 1 AND v > 9;
SELECT a.id, b.id AS other FROM SESSION(e, ts, INTERVAL '10 minutes', k) a JOIN SESSION(e, ts, INTERVAL '10 minutes', k) b ON a.k = b.k AND a.window_start = b.window_start AND a.id < b.id;
WITH x AS (SELECT a.id, a.ts + b.v * INTERVAL '7 minutes' AS ts FROM e a, e b WHERE isfinite(a.ts)) SELECT window_start, window_end, count(*) AS n, min(id) AS least FROM SESSION(x, ts, INTERVAL '4 minutes') GROUP BY window_start, window_end;
WITH x AS (SELECT g, ts FROM e UNION ALL SELECT g, ts FROM e) SELECT g, window_start, count(*) AS n FROM SESSION(x, ts, INTERVAL '10 minutes', g) GROUP BY g, window_start;
-- refused: the gap of SESSION must be greater than zero, not -00:10:00
SELECT * FROM SESSION(e, ts, INTERVAL '-10 minutes', k);
-- refused: the gap of SESSION cannot have months, whose length differs: give days
SELECT * FROM SESSION(e, ts, INTERVAL '1 month', k);
-- refused: the gap of SESSION must be a constant
SELECT * FROM SESSION(e, ts, to_seconds(v), k);
-- refused: the time of SESSION must be a TIMESTAMP, TIMESTAMPTZ or DATE, not VARCHAR
SELECT * FROM SESSION(e, g, INTERVAL '10 minutes', k);
-- refused: SESSION takes a relation, a time, a gap, and keys if there are any
SELECT * FROM SESSION(e, ts);
