-- What cannot be kept up to date, by the name that the error gives it.
CREATE TABLE a(id BIGINT, k INTEGER, s VARCHAR, ts TIMESTAMP);
INSERT INTO a VALUES (1, 1, 'x', '2024-01-01');
CREATE TABLE b(id BIGINT, k INTEGER);
INSERT INTO b VALUES (1, 1);
-- refused: random()
SELECT id, random() FROM a;
-- refused: uuid()
SELECT uuid(), count(*) FROM a GROUP BY 1;
-- refused: sample
SELECT * FROM a USING SAMPLE 10%;
-- refused: a POSITIONAL join
SELECT * FROM a POSITIONAL JOIN b;
-- refused: rowid
SELECT rowid FROM a;
-- refused: reading from
SELECT * FROM duckdb_tables();
-- refused: WITH RECURSIVE
WITH RECURSIVE r(n) AS (SELECT k FROM a UNION SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r;
