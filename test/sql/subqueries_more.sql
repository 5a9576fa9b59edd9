-- Scalar subqueries that give several rows, HAVING over subqueries, NOT IN over NULLs.
CREATE TABLE a(id BIGINT, k INTEGER, v INTEGER);
INSERT INTO a VALUES (1, 1, 10), (2, 1, 5), (3, 2, 7), (4, NULL, 3), (5, 3, NULL), (6, 3, 12), (6, 3, 12), (7, 5, 0);
CREATE TABLE b(id BIGINT, k INTEGER, w INTEGER);
INSERT INTO b VALUES (11, 1, 6), (12, 1, 11), (13, 2, 7), (14, NULL, 9), (15, 3, NULL), (16, 4, 2), (17, 2, 7);
CREATE TABLE one(w INTEGER);
INSERT INTO one VALUES (6);
CREATE TABLE nothing(k INTEGER);
SELECT id FROM a WHERE v > (SELECT w FROM one);
SELECT id, (SELECT w FROM one) AS w, (SELECT k FROM nothing) AS n FROM a;
SELECT k, sum(v) AS s FROM a GROUP BY k HAVING sum(v) > (SELECT w FROM one);
SELECT k, sum(v) AS s FROM a GROUP BY k HAVING sum(v) > (SELECT max(w) FROM b WHERE b.k = a.k);
SELECT k, count(*) AS n FROM a GROUP BY k HAVING count(*) IN (SELECT count(*) FROM b GROUP BY k);
SELECT k, count(*) AS n FROM a GROUP BY k HAVING k NOT IN (SELECT k FROM b WHERE k > 2);
SELECT k, max(v) AS m FROM a GROUP BY k HAVING EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.w > max(a.v));
SELECT k, max(v) AS m FROM a GROUP BY k HAVING max(v) >= ALL (SELECT w FROM b WHERE b.k = a.k);
SELECT max(v) AS m FROM a HAVING max(v) > (SELECT avg(w) FROM b);
SELECT sum(v) AS s FROM a HAVING count(*) > (SELECT count(*) FROM b);
SELECT k FROM a GROUP BY k HAVING min(v) = (SELECT min(v) FROM a x WHERE x.k = a.k) AND k NOT IN (SELECT k FROM b WHERE w > 100);
SELECT id FROM a WHERE v NOT IN (SELECT w FROM b);
SELECT id FROM a WHERE v NOT IN (SELECT w FROM b WHERE w < 0);
SELECT id FROM a WHERE k NOT IN (SELECT k FROM nothing);
SELECT id, v NOT IN (SELECT w FROM b) AS n, v NOT IN (SELECT w FROM b WHERE w IS NOT NULL) AS m FROM a;
SELECT id, k NOT IN (SELECT k FROM nothing) AS n, NULL NOT IN (SELECT k FROM b) AS u, NULL IN (SELECT k FROM nothing) AS e FROM a;
SELECT id, NOT (v IN (SELECT w FROM b WHERE b.k = a.k)) AS n FROM a;
SELECT id, v NOT IN (SELECT w FROM b WHERE b.id > 13 AND b.k = a.k) AS n FROM a WHERE NOT (k NOT IN (SELECT k FROM b WHERE k < 3));
SELECT id FROM a WHERE (k, v) NOT IN (SELECT k, w FROM b WHERE k IS NOT NULL AND w IS NOT NULL);
SELECT count(*) AS n FROM a WHERE k NOT IN (SELECT k FROM b) OR v IN (SELECT w FROM b);
-- sets aside: row returned by a subquery
SELECT id FROM a WHERE v > (SELECT w FROM b);
-- sets aside: row returned by a subquery
SELECT id, (SELECT w FROM b WHERE k = 1) AS w FROM a;
-- sets aside: row returned by a subquery
SELECT k, count(*) AS n FROM a GROUP BY k HAVING count(*) < (SELECT w FROM b WHERE b.k = a.k);
