-- GROUPING SETS, ROLLUP and CUBE.
CREATE TABLE t(id BIGINT, k INTEGER, v INTEGER);
INSERT INTO t VALUES (1, 1, 10), (2, 1, 20), (3, 2, 10), (4, NULL, 30), (5, 2, NULL);
SELECT k, v, count(*) FROM t GROUP BY ROLLUP (k, v);
SELECT k, v, sum(id) FROM t GROUP BY CUBE (k, v);
SELECT k, v, max(id) FROM t GROUP BY GROUPING SETS ((k), (v), (), (k));
SELECT k, v, count(*), GROUPING(k) AS gk, GROUPING(k, v) AS g FROM t GROUP BY ROLLUP (k, v);
SELECT k, sum(v) AS s FROM t GROUP BY ROLLUP (k) HAVING GROUPING(k) = 0 AND sum(v) > 10;
SELECT k, count(DISTINCT v), string_agg(id, ',' ORDER BY id) FROM t GROUP BY ROLLUP (k);
SELECT k, v, count(*) FROM t GROUP BY GROUPING SETS (ROLLUP (k, v), (v));
SELECT k, v, sum(id), GROUPING_ID(k, v) AS g FROM t GROUP BY CUBE (k, v) HAVING count(*) > 1;
SELECT k % 2 AS odd, v, avg(id) FROM t GROUP BY ROLLUP (k % 2, v);
SELECT count(*), sum(v) FROM t WHERE id > 100 GROUP BY ROLLUP (k);
SELECT a.k, b.v, count(*) FROM t a JOIN t b ON a.k = b.k GROUP BY CUBE (a.k, b.v);
SELECT k, v, n, rank() OVER (ORDER BY n, k NULLS FIRST, v NULLS FIRST) AS r FROM (SELECT k, v, count(*) AS n FROM t GROUP BY GROUPING SETS ((k), (v)));
SELECT k, min(v), max(v) FILTER (WHERE id > 1), bool_and(v > 5) FROM t GROUP BY GROUPING SETS ((k), ());
