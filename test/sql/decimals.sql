-- DECIMAL of all widths: sums, averages, rescaling, keys of different scale, rounding.
CREATE TABLE d(id BIGINT, g INTEGER, a DECIMAL(4, 1), b DECIMAL(9, 3), c DECIMAL(18, 6), e DECIMAL(38, 10), p DECIMAL(5, 0));
INSERT INTO d VALUES (1, 1, 1.5, 1.500, 1.5, 1.5, 10), (2, 1, -999.9, 999999.999, 123456789012.345678, 1234567890123456789012345678.0123456789, 99999),
  (3, 2, NULL, NULL, NULL, NULL, NULL), (4, 2, 0.0, -0.001, 0.000001, -0.0000000001, 0), (5, 2, 2.5, 2.5, 2.5, 2.5, 3), (6, NULL, 2.5, 2.500, 2.500000, 2.5, -3), (6, NULL, 2.5, 2.500, 2.500000, 2.5, -3);
SELECT * FROM d;
SELECT id, a + b, a - c, a * b, b / 3, a % 2, -c, abs(a), a + 1, p / 4 FROM d;
SELECT id, round(b, 1), floor(a), ceil(b), trunc(c), a::INTEGER, b::DECIMAL(12, 1), c::DOUBLE, e::VARCHAR FROM d;
SELECT sum(a), sum(b), sum(c), sum(e), avg(a), avg(c), min(e), max(e) FROM d;
SELECT g, sum(a), sum(b), sum(c), sum(e), sum(p), count(a), avg(b) FROM d GROUP BY g;
SELECT g, sum(a * b), sum(a) / count(*), sum(c) - max(c) FROM d GROUP BY g;
SELECT a, count(*) FROM d GROUP BY a;
SELECT e, count(*), max(id) FROM d GROUP BY e;
SELECT DISTINCT a, b FROM d;
SELECT x.id, y.id FROM d x JOIN d y ON x.a = y.b;
SELECT x.id, y.id FROM d x LEFT JOIN d y ON x.c = y.e;
SELECT x.id, y.id FROM d x JOIN d y ON x.p = y.g;
SELECT x.id, y.id FROM d x FULL JOIN d y ON x.a > y.e AND x.id <> y.id;
SELECT id FROM d WHERE a = 2.5 AND b >= 2.5 AND e < 2.50000000001;
SELECT id FROM d WHERE c BETWEEN 0 AND 2;
SELECT a FROM d UNION SELECT b FROM d;
SELECT a FROM d EXCEPT SELECT c FROM d;
SELECT b FROM d INTERSECT SELECT e FROM d;
SELECT sum(DISTINCT a), count(DISTINCT b), avg(DISTINCT c), sum(b) FILTER (WHERE g = 2) FROM d;
SELECT g, quantile_disc(b, 0.5), median(a), arg_max(e, id), stddev_pop(a) FROM d GROUP BY g;
SELECT CASE WHEN a > 2 THEN b ELSE 0 END AS m, coalesce(a, e) AS n, greatest(a, b, c) FROM d;
-- sets aside: Overflow
SELECT e * e FROM d;
-- sets aside: out of range
SELECT c::DECIMAL(5, 2) FROM d;
