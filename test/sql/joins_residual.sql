-- Joins by inequality, by ranges of time, by OR, with expressions of both sides.
CREATE TABLE a(id BIGINT, k INTEGER, lo INTEGER, hi INTEGER, ts TIMESTAMP);
INSERT INTO a VALUES (1, 1, 0, 10, '2024-01-01 00:00:00'), (2, 1, 5, 15, '2024-01-01 01:00:00'), (3, 2, NULL, 10, '2024-01-01 02:00:00'),
  (4, 2, 7, 3, '2024-01-01 03:00:00'), (5, NULL, 1, 2, NULL), (6, 3, -5, 100, '2024-01-01 01:30:00');
CREATE TABLE b(id BIGINT, k INTEGER, x INTEGER, ts TIMESTAMP);
INSERT INTO b VALUES (11, 1, 3, '2024-01-01 00:30:00'), (12, 1, 10, '2024-01-01 01:00:00'), (13, 2, 5, '2024-01-01 01:59:59.999999'),
  (14, NULL, 7, '2024-01-01 02:30:00'), (15, 3, NULL, '2024-01-01 01:30:00'), (16, 2, 99, NULL);
SELECT a.id, b.id FROM a JOIN b ON b.x BETWEEN a.lo AND a.hi;
SELECT a.id, b.id FROM a LEFT JOIN b ON b.x BETWEEN a.lo AND a.hi;
SELECT a.id, b.id FROM a RIGHT JOIN b ON b.x BETWEEN a.lo AND a.hi;
SELECT a.id, b.id FROM a FULL JOIN b ON b.x BETWEEN a.lo AND a.hi;
SELECT a.id, b.id FROM a JOIN b ON a.k = b.k AND b.ts BETWEEN a.ts - INTERVAL '30 minutes' AND a.ts + INTERVAL '30 minutes';
SELECT a.id, b.id FROM a LEFT JOIN b ON a.k = b.k AND b.ts >= a.ts AND b.ts < a.ts + INTERVAL '1 hour';
SELECT a.id, b.id FROM a FULL JOIN b ON a.k = b.k AND b.ts > a.ts;
SELECT a.id, b.id FROM a JOIN b ON a.k <> b.k;
SELECT a.id, b.id FROM a LEFT JOIN b ON a.k < b.k;
SELECT a.id, b.id FROM a FULL JOIN b ON a.k < b.k;
SELECT a.id, b.id FROM a JOIN b ON a.k = b.k OR a.lo = b.x;
SELECT a.id, b.id FROM a LEFT JOIN b ON a.k = b.k OR a.lo > b.x;
SELECT a.id, b.id FROM a FULL JOIN b ON a.k = b.k OR a.lo > b.x;
SELECT a.id, b.id FROM a JOIN b ON a.lo + b.x > 12;
SELECT a.id, b.id FROM a LEFT JOIN b ON a.k = b.k AND a.lo + b.x > 7;
SELECT a.id, b.id FROM a LEFT JOIN b ON a.k = b.k AND (a.lo IS NULL OR b.x IS NULL);
SELECT a.id, b.id FROM a JOIN b ON a.k IS DISTINCT FROM b.k;
SELECT a.id, b.id FROM a LEFT JOIN b ON a.k IS NOT DISTINCT FROM b.k AND a.ts <= b.ts;
SELECT a.id FROM a SEMI JOIN b ON a.k = b.k AND b.x > a.lo;
SELECT a.id FROM a ANTI JOIN b ON a.k = b.k AND b.x > a.lo;
SELECT a.id FROM a SEMI JOIN b ON b.x > a.lo AND b.x < a.hi;
SELECT a.id FROM a ANTI JOIN b ON b.x > a.lo AND b.x < a.hi;
SELECT a.id, count(b.id), min(b.x), max(b.ts) FROM a LEFT JOIN b ON a.k = b.k AND b.ts < a.ts GROUP BY a.id;
SELECT a.id, b.id, CASE WHEN b.x > a.lo THEN 'over' ELSE 'under' END AS side FROM a JOIN b USING (k);
