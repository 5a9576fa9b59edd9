-- WHERE: comparisons, three-valued logic, ranges, lists, patterns, casts.
CREATE TABLE t(id BIGINT, i INTEGER, d DOUBLE, s VARCHAR, f BOOLEAN, ts TIMESTAMP, dt DATE);
INSERT INTO t VALUES (1, 1, 1.5, 'apple', true, '2024-01-01 00:00:00', '2024-01-01'), (2, 2, -0.0, 'Apple', false, '2024-02-29 12:00:00', '2024-02-29'),
  (3, NULL, NULL, NULL, NULL, NULL, NULL), (4, -7, 'NaN', '', true, '1969-12-31 23:59:59', '1969-12-31'),
  (5, 100, 'Infinity', 'pear', false, '2024-12-31 23:59:59.999999', '2024-12-31'), (6, 100, '-Infinity', 'äpfel', NULL, '2000-01-01', '2000-01-01'),
  (7, 0, 0.0, 'a%b_c', true, '2024-01-01 00:00:00', NULL), (7, 0, 0.0, 'a%b_c', true, '2024-01-01 00:00:00', NULL), (8, 42, 1e308, '42', false, NULL, '2024-01-02');
SELECT * FROM t WHERE i > 1;
SELECT * FROM t WHERE i >= 0 AND i <= 42;
SELECT id FROM t WHERE i BETWEEN 1 AND 100 AND NOT f;
SELECT id FROM t WHERE i = 100 OR s = 'apple';
SELECT id FROM t WHERE f;
SELECT id FROM t WHERE NOT f;
SELECT id FROM t WHERE f IS NULL;
SELECT id FROM t WHERE f IS NOT true;
SELECT id FROM t WHERE i IN (1, 2, 100);
SELECT id FROM t WHERE i NOT IN (1, 2, 100);
SELECT id FROM t WHERE i IN (1, NULL);
SELECT id FROM t WHERE i NOT IN (1, NULL);
SELECT id FROM t WHERE s IN ('apple', 'pear', '');
SELECT id FROM t WHERE s LIKE 'a%';
SELECT id FROM t WHERE s ILIKE 'A%';
SELECT id FROM t WHERE s LIKE '%!%%' ESCAPE '!';
SELECT id FROM t WHERE s NOT LIKE '%p%';
SELECT id FROM t WHERE s SIMILAR TO '[a-z]+';
SELECT id FROM t WHERE regexp_matches(s, '^[[:digit:]]+$');
SELECT id FROM t WHERE s > 'a' AND s < 'b';
SELECT id FROM t WHERE d = 0;
SELECT id FROM t WHERE d > 1;
SELECT id FROM t WHERE isnan(d) OR isinf(d);
SELECT id FROM t WHERE ts >= TIMESTAMP '2024-01-01' AND ts < TIMESTAMP '2024-03-01';
SELECT id FROM t WHERE dt = DATE '2024-02-29' OR extract(year FROM ts) = 1969;
SELECT id FROM t WHERE dt > '2024-01-01';
SELECT id FROM t WHERE i % 2 = 0 AND i / 2 > 0;
SELECT id FROM t WHERE TRY_CAST(s AS INTEGER) = i;
SELECT id FROM t WHERE length(s) = 0;
SELECT id FROM t WHERE (i, s) = (1, 'apple') OR (i, s) IN ((0, 'a%b_c'), (100, 'pear'));
SELECT id FROM t WHERE i IS DISTINCT FROM 100;
SELECT id FROM t WHERE true;
SELECT id FROM t WHERE false;
SELECT id FROM t WHERE NULL;
SELECT id FROM t WHERE CASE WHEN i > 10 THEN f WHEN i IS NULL THEN true END;
SELECT id FROM (SELECT * FROM t WHERE i > 0) WHERE d > 0 OR d IS NULL;
SELECT i FROM t WHERE i = 0 UNION ALL SELECT i FROM t WHERE i = 0;
FROM t WHERE id < 4;
