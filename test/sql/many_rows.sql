-- Epochs that take more than one chunk: thousands of rows, few and many groups, skewed keys.
CREATE TABLE f(id BIGINT, k INTEGER, s VARCHAR, v INTEGER);
INSERT INTO f SELECT n, CASE WHEN n % 2 = 0 THEN 0 ELSE n * 7919 % 600 END, 'text ' || n % 97, n * 31 % 1000 FROM range(6000) r(n);
CREATE TABLE d(k INTEGER, name VARCHAR);
INSERT INTO d SELECT n, 'the name of number ' || n FROM range(0, 900, 3) r(n);
SELECT count(*), sum(v), min(s), max(v) FROM f;
SELECT k, count(*), sum(v), max(s) FROM f GROUP BY k;
SELECT s, count(DISTINCT k), avg(v) FROM f WHERE v > 100 GROUP BY s;
SELECT f.id, d.name FROM f JOIN d ON f.k = d.k WHERE f.v < 100;
SELECT d.name, count(f.id), sum(f.v) FROM d LEFT JOIN f ON f.k = d.k GROUP BY d.name;
SELECT DISTINCT k, v FROM f WHERE v < 50;
SELECT k FROM f EXCEPT SELECT k FROM d;
SELECT id FROM f WHERE k IN (SELECT k FROM d) AND v > (SELECT avg(v) FROM f);
