-- Dates, times, timestamps and intervals: buckets, parts, arithmetic, and windows by hand.
CREATE TABLE t(id BIGINT, ts TIMESTAMP, dt DATE, tm TIME, iv INTERVAL, tn TIMESTAMP_NS, sec TIMESTAMP_S);
INSERT INTO t VALUES (1, '2024-01-31 10:30:00', '2024-01-31', '10:30:00', '1 month', '2024-01-31 10:30:00.123456789', '2024-01-31 10:30:00'),
  (2, '2024-02-29 23:59:59.999999', '2024-02-29', '23:59:59.999999', '1 day', '2024-02-29 23:59:59.999999999', '2024-02-29 23:59:59'),
  (3, '2023-12-31 00:00:00', '2023-12-31', '00:00:00', '-2 hours', '1970-01-01', '1970-01-01'), (4, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, '1969-07-20 20:17:40', '1969-07-20', '20:17:40', '3 years 2 months', '1969-07-20 20:17:40', '1969-07-20 20:17:40'),
  (6, '2024-01-31 10:30:00', '2024-02-01', '10:29:59', '40 days', '2024-01-31 10:30:00.123456788', '2024-01-31 10:30:01');
SELECT * FROM t;
SELECT id, ts + iv, ts - iv, dt + iv, dt + 1, dt - DATE '2024-01-01', ts - TIMESTAMP '2024-01-01' FROM t;
SELECT id, date_trunc('month', ts), date_trunc('week', dt), date_trunc('hour', ts), date_trunc('quarter', ts) FROM t;
SELECT id, extract(year FROM ts), extract(dow FROM dt), extract(isoyear FROM ts), week(ts), epoch(ts), epoch_ms(ts), dayname(dt) FROM t;
SELECT id, time_bucket(INTERVAL '15 minutes', ts), time_bucket(INTERVAL '1 week', ts), time_bucket(INTERVAL '1 month', dt) FROM t;
SELECT id, time_bucket(INTERVAL '10 minutes', ts, INTERVAL '3 minutes'), time_bucket(INTERVAL '1 day', ts, TIMESTAMP '2024-01-01 06:00:00') FROM t;
SELECT id, strftime(ts, '%Y-%m-%d %H:%M'), strptime('2024-01-0' || id, '%Y-%m-%d'), make_date(2024, 1, id::INTEGER) FROM t;
SELECT id, ts::DATE, dt::TIMESTAMP, ts::TIME, tm::VARCHAR, tn::TIMESTAMP, sec::TIMESTAMP, ts::VARCHAR FROM t;
SELECT id, date_diff('day', dt, DATE '2024-03-01'), date_diff('month', ts, TIMESTAMP '2024-03-01'), date_part('minute', tm), age(ts, TIMESTAMP '2020-01-01') FROM t;
SELECT id, last_day(dt), ts BETWEEN '2024-01-01' AND '2024-02-01', dt = '2024-01-31', iv > INTERVAL '29 days' FROM t;
SELECT date_trunc('month', ts) AS m, count(*), min(tm), max(iv), min(tn), max(sec) FROM t GROUP BY m;
SELECT time_bucket(INTERVAL '1 day', ts) AS d, count(*), max(ts) - min(ts) FROM t GROUP BY d;
SELECT iv, count(*), max(id) FROM t GROUP BY iv;
SELECT a.id, b.id FROM t a JOIN t b ON a.ts = b.ts;
SELECT a.id, b.id FROM t a JOIN t b ON a.ts::DATE = b.dt;
SELECT a.id, b.id FROM t a LEFT JOIN t b ON b.ts BETWEEN a.ts AND a.ts + INTERVAL '31 days' AND a.id <> b.id;
SELECT a.id, b.id FROM t a JOIN t b ON a.iv = b.iv;
SELECT a.id, b.id FROM t a JOIN t b ON a.tn = b.tn AND a.sec <= b.sec;
SELECT DISTINCT dt, date_trunc('day', ts) FROM t;
SELECT min(ts), max(ts), avg(dt), median(ts), count(DISTINCT ts), quantile_disc(ts, 0.5) FROM t;
SELECT id FROM t WHERE ts > TIMESTAMP '2024-01-31 10:29:59.999999' AND tm < TIME '23:00';
SELECT id FROM t WHERE dt IN ('2024-01-31', '2024-02-01');
SELECT id, unnest(generate_series(dt, dt + INTERVAL '2 days', INTERVAL '1 day')) AS d FROM t;
