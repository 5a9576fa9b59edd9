-- GROUPING SETS, ROLLUP and CUBE.
CREATE TABLE t(id BIGINT, k INTEGER, v INTEGER);
INSERT INTO t VALUES (1, 1, 10), (2, 1, 20), (3, 2, 10), (4, NULL, 30), (5, 2, NULL);
SELECT k, v, count(*) FROM t GROUP BY ROLLUP (k, v);
SELECT k, v, sum(id) FROM t GROUP BY CUBE (k, v);
SELECT k, v, max(id) FROM t GROUP BY GROUPING SETS ((k), (v), (), (k));
SELECT k, v, count(*), GROUPING(k) AS gk, GROUPING(k, v) AS g FROM t GROUP BY ROLLUP (k, v);
SELECT k, sum(v) AS s FROM t GROUP BY ROLLUP (k) HAVING GROUPING(k) = 0 AND sum(v) > 10;
SELECT k, count(DISTINCT v), string_agg(id, ',' ORDER BY id) FROM t GROUP BY ROLLUP (k);
