-- Times with constant intervals: within the range where microseconds are counted, outside, infinite, NULL, and all in one chunk.
CREATE TABLE e(id BIGINT, ts TIMESTAMP);
INSERT INTO e VALUES (1, '2024-02-29 23:59:59.999999'), (2, '1969-12-31 23:59:59.999999'), (3, '1970-01-01 00:00:00'), (4, '2000-01-03 00:00:00'), (5, '2000-01-02 23:59:59.999999'), (6, NULL),
  (7, '0001-01-01 00:00:00'), (8, '60000-06-15 12:30:00.5'), (9, '0044-03-15 (BC) 12:00:00');
CREATE TABLE far(id BIGINT, ts TIMESTAMP);
INSERT INTO far VALUES (1, '2024-02-29 23:59:59.999999'), (2, 'infinity'), (3, '-infinity'), (4, '290000-06-15 12:30:00'), (5, '280000-01-01 (BC) 00:00:00'), (6, NULL), (7, '1969-07-20 20:17:40');
SELECT id, ts + INTERVAL '10 seconds', ts - INTERVAL '10 seconds', INTERVAL '1 day 2 hours' + ts, ts - INTERVAL '-3 days', ts + INTERVAL '1 day -1 microseconds' FROM e;
SELECT id, ts + INTERVAL '1 month', ts - INTERVAL '1 year 1 day', ts + INTERVAL '0 seconds', ts + INTERVAL '300000 days', ts - INTERVAL '100000000 hours' FROM e;
SELECT id, time_bucket(INTERVAL '1 microsecond', ts), time_bucket(INTERVAL '7 seconds', ts), time_bucket(INTERVAL '1 day', ts), time_bucket(INTERVAL '1 week 1 hour', ts), time_bucket(INTERVAL '1 month', ts) FROM e;
SELECT id, time_bucket(INTERVAL '3000000 days', ts), time_bucket(INTERVAL '50000 days 3 seconds', ts) FROM e;
SELECT id, unnest(generate_series(ts, ts + INTERVAL '25 hours', INTERVAL '6 hours')) AS t FROM e;
SELECT id, unnest(generate_series(ts - INTERVAL '1 second', ts, INTERVAL '1 second')) AS t, unnest(generate_series(ts, ts - INTERVAL '1 second', INTERVAL '1 second')) AS none FROM e;
SELECT id, unnest(generate_series(ts, ts + INTERVAL '2 months', INTERVAL '1 month')) AS t FROM e WHERE id < 7;
SELECT id, unnest(range(ts, ts + INTERVAL '2 days', INTERVAL '1 day')) AS t FROM e;
SELECT id, ts + INTERVAL '10 seconds', ts - INTERVAL '10 days', time_bucket(INTERVAL '1 hour', ts) FROM far;
SELECT id, (ts + INTERVAL '1 day')::DATE, ts + INTERVAL '1 hour' > ts, ts::DATE + INTERVAL '1 day' FROM e WHERE ts - INTERVAL '4 seconds' < TIMESTAMP '2030-01-01';
SELECT window_start, window_end, count(*), max(id) FROM HOP(e, ts, INTERVAL '1 day', INTERVAL '2 days 12 hours') GROUP BY ALL;
SELECT window_start, window_end, count(*) FROM HOP(e, ts, INTERVAL '1 month', INTERVAL '2 months') GROUP BY ALL;
