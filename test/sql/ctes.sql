-- WITH: used once, used by several, materialized or not, over one another, and views' usual shapes.
CREATE TABLE t(id BIGINT, k INTEGER, v INTEGER);
INSERT INTO t VALUES (1, 1, 10), (2, 1, 20), (3, 2, 10), (4, NULL, 30), (5, 2, NULL), (6, 3, 10), (6, 3, 10), (7, 4, 0);
WITH x AS (SELECT k, sum(v) s FROM t GROUP BY k) SELECT * FROM x WHERE s > 10;
WITH x AS MATERIALIZED (SELECT k, sum(v) s FROM t GROUP BY k) SELECT a.k, b.k FROM x a JOIN x b ON a.s = b.s AND a.k < b.k;
WITH x AS NOT MATERIALIZED (SELECT k, sum(v) s FROM t GROUP BY k) SELECT a.k, b.k FROM x a JOIN x b ON a.s = b.s;
WITH x AS (SELECT * FROM t WHERE v > 5), y AS (SELECT k, count(*) n FROM x GROUP BY k) SELECT x.id, y.n FROM x LEFT JOIN y ON x.k = y.k;
WITH x AS MATERIALIZED (SELECT k FROM t WHERE k > 1) SELECT k FROM x UNION ALL SELECT k FROM x;
WITH x AS MATERIALIZED (SELECT k, max(v) m FROM t GROUP BY k) SELECT k FROM x WHERE m = (SELECT max(m) FROM x);
WITH x AS MATERIALIZED (SELECT DISTINCT k FROM t) SELECT id FROM t WHERE k IN (SELECT k FROM x WHERE k > 1) AND EXISTS (SELECT 1 FROM x WHERE x.k = t.k + 1);
WITH x AS MATERIALIZED (SELECT * FROM t), y AS MATERIALIZED (SELECT k, v FROM x WHERE v IS NOT NULL) SELECT x.id, y.v FROM x JOIN y ON x.k = y.k;
WITH x(a, b) AS (SELECT k, v FROM t) SELECT a, sum(b) FROM x GROUP BY a;
WITH x AS MATERIALIZED (SELECT k, count(*) n FROM t GROUP BY k), y AS MATERIALIZED (SELECT n, count(*) c FROM x GROUP BY n) SELECT x.k, y.c FROM x JOIN y USING (n);
SELECT * FROM (WITH x AS (SELECT k FROM t) SELECT k, count(*) FROM x GROUP BY k);
WITH x AS MATERIALIZED (SELECT id, k FROM t) SELECT a.id, b.id FROM x a LEFT JOIN x b ON a.k = b.k AND a.id > b.id;
WITH x AS MATERIALIZED (SELECT k, v FROM t WHERE v > 0) SELECT count(*), (SELECT sum(v) FROM x) FROM x;
WITH one AS (SELECT 1 AS n), x AS MATERIALIZED (SELECT * FROM t, one WHERE t.k > one.n) SELECT x.id FROM x WHERE x.v = (SELECT max(v) FROM x);
-- refused: WITH RECURSIVE
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT t.id, r.n FROM t JOIN r ON t.k = r.n;
