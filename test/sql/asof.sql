-- ASOF joins.
CREATE TABLE t(id BIGINT, k INTEGER, ts TIMESTAMP);
INSERT INTO t VALUES (1, 1, '2024-01-01 00:00:01'), (2, 1, '2024-01-01 00:00:05'), (3, 2, '2024-01-01 00:00:03'), (4, NULL, '2024-01-01 00:00:03'), (5, 1, NULL),
  (6, 1, '2024-01-01 00:00:04'), (6, 1, '2024-01-01 00:00:04');
CREATE TABLE p(k INTEGER, price INTEGER, ts TIMESTAMP);
INSERT INTO p VALUES (1, 100, '2024-01-01 00:00:00'), (1, 101, '2024-01-01 00:00:04'), (1, 101, '2024-01-01 00:00:04'), (2, 7, '2024-01-01 00:00:09'), (NULL, 8, '2024-01-01 00:00:00'), (1, 102, NULL);
SELECT t.id, p.price FROM t ASOF JOIN p ON t.k = p.k AND t.ts >= p.ts;
SELECT t.id, p.price, p.ts FROM t ASOF LEFT JOIN p ON t.k = p.k AND t.ts > p.ts;
SELECT t.id, p.price FROM t ASOF JOIN p ON t.k = p.k AND t.ts <= p.ts;
SELECT t.id, p.ts FROM t ASOF LEFT JOIN (SELECT DISTINCT ts FROM p) p ON t.ts < p.ts;
SELECT t.k, count(*) AS n, sum(p.price) AS s FROM t ASOF JOIN p USING (k, ts) GROUP BY t.k;
SELECT t.id, p.price FROM t ASOF LEFT JOIN p ON t.k = p.k AND t.ts < p.ts;
SELECT t.id FROM t ASOF SEMI JOIN p ON t.k = p.k AND t.ts >= p.ts;
SELECT t.id FROM t ASOF ANTI JOIN p ON t.k = p.k AND t.ts >= p.ts;
SELECT t.id, m.price FROM t ASOF JOIN (SELECT k, ts, max(price) AS price FROM p GROUP BY k, ts) m ON t.k = m.k AND t.ts >= m.ts + INTERVAL '1 second';
SELECT p.price, count(t.id) AS n FROM p LEFT JOIN (SELECT t.id, p.price FROM t ASOF JOIN p ON t.k = p.k AND t.ts >= p.ts) t ON p.price = t.price GROUP BY p.price;
