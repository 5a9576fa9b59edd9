-- Window functions.
CREATE TABLE t(id BIGINT, k INTEGER, v INTEGER);
INSERT INTO t VALUES (1, 1, 10), (2, 1, 20), (3, 2, 10), (4, NULL, 30), (5, 2, NULL);
-- refused: a window function
SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) FROM t;
SELECT id, sum(v) OVER (PARTITION BY k) FROM t;
SELECT id, count(*) OVER (PARTITION BY k) AS n, v FROM t;
