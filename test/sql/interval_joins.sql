-- Joins whose times are bound to each other, of every kind, over rows that come and go: NULL times, ties, both ends of an interval.
CREATE TABLE a(id INTEGER, k INTEGER, ts TIMESTAMP);
CREATE TABLE b(id INTEGER, k INTEGER, ts TIMESTAMP);
CREATE TABLE d(id INTEGER, k INTEGER, day DATE);
INSERT INTO a VALUES (1,1,'2024-03-01 10:00:00'),(2,1,'2024-03-01 10:05:00'),(3,2,'2024-03-01 10:05:00'),(4,NULL,'2024-03-01 10:06:00'),(5,1,NULL),(6,3,'2024-03-01 23:59:59'),(7,2,'1969-12-31 23:59:00'),(8,1,'2024-03-01 10:05:00'),(9,1,'2024-03-01 10:05:00');
INSERT INTO b VALUES (1,1,'2024-03-01 10:01:00'),(2,1,'2024-03-01 10:00:00'),(3,2,'2024-03-01 10:10:00'),(4,2,'2024-03-01 10:10:01'),(5,NULL,'2024-03-01 10:06:00'),(6,1,NULL),(7,3,'2024-03-02 00:00:00'),(8,2,'1970-01-01 00:00:30'),(9,1,'2024-03-01 10:04:00'),(10,1,'2024-03-01 10:04:00');
INSERT INTO d VALUES (1,1,'2024-03-01'),(2,2,'2024-03-02'),(3,3,NULL),(4,2,'1969-12-31');
SELECT a.id, b.id AS b_id FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '5 minutes' AND a.ts + INTERVAL '1 minute';
SELECT a.id, a.ts, b.id AS b_id, b.ts AS b_ts FROM a LEFT JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '5 minutes' AND a.ts + INTERVAL '1 minute';
SELECT a.id, b.id AS b_id FROM a RIGHT JOIN b ON a.k = b.k AND b.ts >= a.ts AND b.ts < a.ts + INTERVAL '5 minutes';
SELECT a.id, b.id AS b_id FROM a FULL JOIN b ON a.k = b.k AND a.ts - b.ts BETWEEN INTERVAL '-5 minutes' AND INTERVAL '1 minute';
SELECT a.id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.ts > a.ts AND b.ts <= a.ts + INTERVAL '5 minutes');
SELECT a.id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '5 minutes');
SELECT a.id, b.id AS b_id FROM a, b WHERE a.ts BETWEEN b.ts - INTERVAL '10 seconds' AND b.ts;
SELECT b.id, count(a.id) AS n FROM b LEFT JOIN a ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '1 day' AND b.ts GROUP BY b.id;
SELECT a.id, d.id AS d_id FROM a LEFT JOIN d ON a.k = d.k AND a.ts >= d.day AND a.ts < d.day + INTERVAL '1 day';
SELECT a.id, m.id AS m_id FROM a JOIN (SELECT k, max(ts) AS ts, max(id) AS id FROM b GROUP BY k) m ON a.k = m.k AND m.ts BETWEEN a.ts AND a.ts + INTERVAL '1 hour';
SELECT x.id, y.id AS y_id, x.window_start FROM TUMBLE(a, ts, INTERVAL '10 minutes') x FULL JOIN TUMBLE(b, ts, INTERVAL '10 minutes') y ON x.k = y.k AND x.window_start = y.window_start AND x.window_end = y.window_end;
SELECT p.id, q.id AS q_id FROM a p JOIN a q ON p.ts = q.ts AND p.id < q.id;
