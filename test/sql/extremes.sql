-- The ends of every type's range; overflow-prone sums; NaN, infinities, negative zero; very long texts.
CREATE TABLE x(id BIGINT, g INTEGER, ti TINYINT, si SMALLINT, i INTEGER, bi BIGINT, hi HUGEINT, ut UTINYINT, ub UBIGINT, uh UHUGEINT, f FLOAT, d DOUBLE, ts TIMESTAMP, dt DATE, tm TIME, iv INTERVAL, s VARCHAR);
INSERT INTO x VALUES
  (1, 1, -128, -32768, -2147483648, -9223372036854775808, -170141183460469231731687303715884105728, 0, 0, 0, '-Infinity', 'NaN', '290309-12-22 (BC) 00:00:00', '5877642-06-25 (BC)', '00:00:00', '-1 month', ''),
  (2, 1, 127, 32767, 2147483647, 9223372036854775807, 170141183460469231731687303715884105727, 255, 18446744073709551615, 340282366920938463463374607431768211455, 'Infinity', '-Infinity', '294247-01-10 04:00:54.775806', '5881580-07-10', '23:59:59.999999', '999 years', repeat('z', 5000)),
  (3, 2, 0, 0, 0, 0, 0, 128, 9223372036854775808, 1, 'NaN', 'Infinity', '1970-01-01', '1970-01-01', '12:00:00', '0 seconds', chr(0)),
  (4, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, 2, -1, -1, -1, -1, -1, 1, 1, 1, -0.0, 0.0, '-infinity', '-infinity', '24:00:00', '1 day', '🦆'),
  (6, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0.0, -0.0, 'infinity', 'infinity', '00:00:00.000001', '25 hours', 'Z'),
  (7, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1e-45, 5e-324, '1969-12-31 23:59:59.999999', '1969-12-31', '00:00:00', '1 microsecond', repeat('é', 300));
SELECT * FROM x;
SELECT min(ti), max(ti), min(si), max(si), min(i), max(i), min(bi), max(bi), min(hi), max(hi) FROM x;
SELECT min(ut), max(ut), min(ub), max(ub), min(uh), max(uh) FROM x;
SELECT g, min(f), max(f), min(d), max(d) FROM x GROUP BY g;
SELECT g, min(ts), max(ts), min(dt), max(dt), min(tm), max(tm), min(iv), max(iv), min(s), max(s) FROM x GROUP BY g;
SELECT sum(ti), sum(si), sum(i), sum(bi), avg(bi), sum(ub) FROM x;
SELECT g, sum(bi), count(bi), avg(i) FROM x GROUP BY g;
SELECT f, count(*) FROM x GROUP BY f;
SELECT d, count(*) FROM x GROUP BY d;
SELECT d + 0 AS e, count(*) FROM x GROUP BY e;
SELECT iv, count(*) FROM x GROUP BY iv;
SELECT s, count(*) FROM x GROUP BY s;
SELECT hi, uh, count(*) FROM x GROUP BY ALL;
SELECT DISTINCT f, d FROM x;
SELECT DISTINCT ts, dt, tm FROM x;
SELECT a.id, b.id FROM x a JOIN x b ON a.d = b.d;
SELECT a.id, b.id FROM x a LEFT JOIN x b ON a.f = b.d;
SELECT a.id, b.id FROM x a JOIN x b ON a.ub = b.uh;
SELECT a.id, b.id FROM x a FULL JOIN x b ON a.iv = b.iv AND a.id <> b.id;
SELECT a.id, b.id FROM x a JOIN x b ON a.ts < b.ts AND a.hi < b.hi;
SELECT id FROM x WHERE d > 1e308;
SELECT id FROM x WHERE d = 'NaN'::DOUBLE OR f < 0;
SELECT id FROM x WHERE ts > '2000-01-01' OR dt < '1970-01-01';
SELECT count(DISTINCT f), count(DISTINCT d), count(DISTINCT iv), count(DISTINCT hi), count(DISTINCT s) FROM x;
SELECT g, arg_max(id, d) FILTER (WHERE d > 0), arg_max(id, s) FROM x GROUP BY g;
SELECT length(s), s[1], id FROM x;
SELECT max(hi) // 2, min(uh) // 2 FROM x;
SELECT isfinite(ts), isinf(dt), id FROM x;
-- sets aside: Overflow
SELECT sum(hi) FROM x WHERE hi > 100 OR id IN (6, 7);
-- sets aside: Overflow
SELECT i + i FROM x;
-- sets aside: out of range
SELECT bi::INTEGER FROM x;
-- sets aside: Could not convert
SELECT s::INTEGER FROM x;
