-- TUMBLE, HOP and CUMULATE: sizes, slides, NULL times, times before 1970 and on the edges.
CREATE TABLE e(id BIGINT, k INTEGER, v INTEGER, ts TIMESTAMP, tz TIMESTAMPTZ);
INSERT INTO e VALUES (1, 1, 10, '2024-01-01 00:00:00', '2024-01-01 00:00:00+00'), (2, 1, 20, '2024-01-01 00:09:59.999999', '2024-01-01 00:10:00+00'), (3, 2, 5, '2024-01-01 00:10:00', '2024-01-01 01:10:00+01'),
  (4, 2, NULL, NULL, NULL), (5, NULL, 7, '1969-12-31 23:55:00', '1969-12-31 23:55:00+00'), (6, 1, 1, '2024-01-01 00:15:00', '2024-01-01 00:15:00+00'), (7, 3, 2, '2024-01-01 01:00:00', '2024-02-29 12:00:00+00'),
  (8, 3, 2, '2024-01-01 00:59:00', '2024-01-01 00:00:00+00'), (8, 3, 2, '2024-01-01 00:59:00', '2024-01-01 00:00:00+00');
SELECT window_start, window_end, count(*) AS n, sum(v) AS s FROM TUMBLE(e, ts, INTERVAL '10 minutes') GROUP BY window_start, window_end;
SELECT * FROM TUMBLE(e, ts, INTERVAL '1 hour');
SELECT window_start, k, count(*), max(v) FROM TUMBLE(e, ts, INTERVAL '1 day') GROUP BY ALL;
SELECT window_start, window_end, count(*) FROM TUMBLE(e, tz, INTERVAL '15 minutes') GROUP BY ALL;
SELECT * FROM HOP(e, ts, INTERVAL '5 minutes', INTERVAL '15 minutes');
SELECT window_start, window_end, k, count(*) AS n, sum(v) AS s FROM HOP(e, ts, INTERVAL '5 minutes', INTERVAL '10 minutes') GROUP BY ALL;
SELECT window_start, window_end, k, count(*) AS n FROM HOP(e, ts, INTERVAL '5 minutes', INTERVAL '20 minutes') GROUP BY ALL;
SELECT DISTINCT window_end, k FROM HOP(e, tz, INTERVAL '10 minutes', INTERVAL '1 hour') WHERE v < 20;
SELECT window_start, avg(v) FROM HOP(e, ts, INTERVAL '30 minutes', INTERVAL '1 hour') GROUP BY window_start HAVING count(*) > 1;
SELECT window_start, count(DISTINCT k), list(id ORDER BY id) FROM HOP(e, ts, INTERVAL '10 minutes', INTERVAL '10 minutes') GROUP BY window_start;
SELECT w.window_start, w.k, w.n, m.most FROM (SELECT window_start, k, count(*) n FROM TUMBLE(e, ts, INTERVAL '1 hour') GROUP BY ALL) w JOIN (SELECT window_start, max(n) most FROM (SELECT window_start, k, count(*) n FROM TUMBLE(e, ts, INTERVAL '1 hour') GROUP BY ALL) GROUP BY window_start) m ON w.window_start = m.window_start AND w.n = m.most;
SELECT a.id, b.id, a.window_start FROM TUMBLE(e, ts, INTERVAL '10 minutes') a JOIN TUMBLE(e, ts, INTERVAL '10 minutes') b ON a.window_start = b.window_start AND a.id < b.id;
SELECT a.id, b.id FROM e a LEFT JOIN e b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '10 minutes' AND a.id <> b.id;
SELECT n, count(*) FROM (SELECT window_start, count(*) AS n FROM TUMBLE(e, ts, INTERVAL '10 minutes') GROUP BY window_start) GROUP BY n;
SELECT time_bucket(INTERVAL '1 week', ts) AS w, time_bucket(INTERVAL '1 month', ts) AS m, count(*) FROM e GROUP BY ALL;
SELECT * FROM CUMULATE(e, ts, INTERVAL '5 minutes', INTERVAL '20 minutes');
SELECT window_start, window_end, count(*) AS n, sum(v) AS s FROM CUMULATE(e, ts, INTERVAL '10 minutes', INTERVAL '1 hour') GROUP BY ALL;
SELECT window_end, k, max(v) FROM CUMULATE(e, tz, INTERVAL '15 minutes', INTERVAL '15 minutes') GROUP BY ALL;
SELECT window_start, window_end, count(*) FROM CUMULATE(e, ts, INTERVAL '1 day', INTERVAL '1 month') GROUP BY ALL;
-- refused: the size of TUMBLE must be greater than zero, not 00:00:00
SELECT * FROM TUMBLE(e, ts, INTERVAL '0 minutes');
-- refused: the slide of HOP must be greater than zero, not -00:05:00
SELECT * FROM HOP(e, ts, INTERVAL '-5 minutes', INTERVAL '10 minutes');
-- refused: the step of CUMULATE must divide its size: 01:00:00 is not a multiple of 00:07:00
SELECT * FROM CUMULATE(e, ts, INTERVAL '7 minutes', INTERVAL '1 hour');
-- refused: the size of TUMBLE must be an interval, such as INTERVAL '10 minutes', not INTEGER
SELECT * FROM TUMBLE(e, ts, 10);
-- refused: the time of HOP must be a TIMESTAMP, TIMESTAMPTZ or DATE, not INTEGER
SELECT * FROM HOP(e, k, INTERVAL '5 minutes', INTERVAL '10 minutes');
-- refused: CUMULATE takes a relation, a time, a step and a size
SELECT * FROM CUMULATE(e, ts, INTERVAL '7 minutes');
