-- What SELECT computes: arithmetic, CASE, casts, functions, structs made of columns.
CREATE TABLE t(id BIGINT, i INTEGER, j INTEGER, d DOUBLE, s VARCHAR, h HUGEINT, u UTINYINT, b BLOB);
INSERT INTO t VALUES (1, 1, 3, 1.5, 'abc', 1, 0, 'ab'::BLOB), (2, -7, 2, -0.25, '', -1, 255, '\x00\xFF'::BLOB), (3, NULL, 5, NULL, NULL, NULL, NULL, NULL),
  (4, 12, 0, 1e10, 'Üben', 170141183460469231731687303715884105727, 7, ''::BLOB), (5, 12, NULL, 0, 'a longer text than twelve letters', 0, 100, 'zzzzzzzzzzzzzzzzzzzz'::BLOB),
  (5, 12, NULL, 0, 'a longer text than twelve letters', 0, 100, 'zzzzzzzzzzzzzzzzzzzz'::BLOB);
SELECT * FROM t;
SELECT *, i + j AS sum FROM t;
SELECT * EXCLUDE (b, h) FROM t;
SELECT * REPLACE (i * 2 AS i) FROM t;
SELECT COLUMNS('i|j') + 1 FROM t;
SELECT i + j, i - j, i * j, i / nullif(j, 0), i // nullif(j, 0), i % nullif(j, 0), -i, abs(i) FROM t;
SELECT i / j, i // j, i % j FROM t;
SELECT d * 2, d / 3, round(d, 1), floor(d), ceil(d), sign(d), d::INTEGER FROM t WHERE d < 1e9;
SELECT i & j, i | j, xor(i, j), ~i, i << 2 FROM t WHERE i > 0;
SELECT u // 2 + 1, u::INTEGER * 2, u::UTINYINT // 2 FROM t;
SELECT h, h // 3, h::VARCHAR, hash(i) = hash(i) FROM t;
SELECT coalesce(i, j, -1), ifnull(s, 'none'), nullif(i, 12) FROM t;
SELECT CASE i WHEN 1 THEN 'one' WHEN 12 THEN 'dozen' ELSE 'many' END, CASE WHEN j > 2 THEN s END FROM t;
SELECT i::VARCHAR || '-' || s, concat(i, s), concat_ws(',', i, s, j) FROM t;
SELECT upper(s), lower(s), length(s), strlen(s), reverse(s), s[2:3], substr(s, 2), left(s, 1) FROM t;
SELECT b, octet_length(b), md5(b::VARCHAR), hex(b), base64(b) FROM t WHERE id IN (1, 4, 5);
SELECT greatest(i, j, 2), least(i, j, 2) FROM t;
SELECT i > j, i = j, i IS NULL, s IS NOT NULL, i IS DISTINCT FROM j FROM t;
SELECT 1 AS one, 'x' AS x, NULL AS nothing, id FROM t;
SELECT {'i': i, 's': s} AS st, [i, j] AS l, (i, s) AS r FROM t;
SELECT struct_pack(a := i, b := {'c': s}) AS st FROM t;
SELECT i AS x, x + 1 AS y, y * 2 AS z FROM t;
SELECT s COLLATE NOCASE = 'ABC' FROM t;
SELECT printf('%05d %s', i, s), format('{} {}', i, s) FROM t;
SELECT i::DOUBLE, d::FLOAT, s::BLOB, id::DECIMAL(10, 2), i::BOOLEAN FROM t WHERE id <> 4;
SELECT TRY_CAST(s AS INTEGER), TRY_CAST(d AS TINYINT), TRY_CAST(h AS BIGINT) FROM t;
SELECT sqrt(abs(d)), exp(0), ln(2), pow(i, 2), pi() > 3 FROM t;
SELECT typeof(i), typeof(d), typeof(h), typeof(s) FROM t;
SELECT id FROM t ORDER BY id DESC;
SELECT i, i FROM t;
SELECT t FROM t WHERE id = 1;
