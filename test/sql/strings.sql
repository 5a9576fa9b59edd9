-- Texts: inlined and long ones as keys, Unicode, splitting, patterns, collation, order.
CREATE TABLE s(id BIGINT, a VARCHAR, b VARCHAR);
INSERT INTO s VALUES (1, '', 'x'), (2, 'twelve chars', 'twelve chars'), (3, 'thirteen char', 'thirteen char'), (4, 'thirteen chaR', 'THIRTEEN CHAR'), (5, NULL, 'only b'),
  (6, 'a,b,,c', ','), (7, 'Straße', 'STRASSE'), (8, 'naïve café', 'cafe'), (9, '日本語のテキスト', '語'), (10, '🦆🦆', '🦆'), (11, ' padded ', 'pad'), (12, 'x', 'x'), (13, 'e' || chr(769), 'é'),
  (14, repeat('long ', 100), repeat('long ', 100) || '!'), (15, 'a' || chr(10) || 'b', chr(9)), (2, 'twelve chars', 'twelve chars');
SELECT * FROM s;
SELECT a, count(*), max(b) FROM s GROUP BY a;
SELECT left(a, 4) AS p, count(*), string_agg(b, '|' ORDER BY id, b) FROM s GROUP BY p;
SELECT length(a), strlen(a), bit_length(a), unicode(a), ord(b) FROM s;
SELECT x.id, y.id FROM s x JOIN s y ON x.a = y.b;
SELECT x.id, y.id FROM s x LEFT JOIN s y ON lower(x.a) = lower(y.b);
SELECT x.id, y.id FROM s x JOIN s y ON x.id <> y.id AND contains(x.a, y.b);
SELECT x.id, y.id FROM s x JOIN s y ON starts_with(y.b, x.a) AND x.a <> '';
SELECT id, upper(a), lower(b), reverse(a), trim(a), ltrim(a), lpad(a, 5, '*'), repeat(b, 2) FROM s;
SELECT id, a LIKE '%a%', a ILIKE 'T%', a LIKE '_', b SIMILAR TO '.*a.*', regexp_replace(a, '[aeiou]', '#', 'g') FROM s;
SELECT id, string_split(a, ','), split_part(a, ',', 2), regexp_extract(a, '([a-z]+)', 1), regexp_extract_all(a, '[a-z]') FROM s;
SELECT id, replace(a, 'a', 'bb'), translate(a, 'abc', 'xyz'), position(b IN a), instr(a, 'e'), substring(a, 2, 3), a[-3:] FROM s;
SELECT id, a || b, concat(a, '/', b), a < b, a = b, strip_accents(a), nfc_normalize(a) = b FROM s;
SELECT min(a), max(a), min(b), max(b), count(DISTINCT a), count(DISTINCT lower(a)) FROM s;
SELECT DISTINCT a, b FROM s;
SELECT DISTINCT lower(a) FROM s;
SELECT string_agg(a, ';' ORDER BY id, a), listagg(b, '' ORDER BY b, id) FROM s;
SELECT part, count(*) FROM (SELECT unnest(string_split(a, ',')) AS part FROM s) GROUP BY part;
SELECT word, count(*) FROM (SELECT unnest(string_split(a, ' ')) AS word FROM s) GROUP BY word HAVING count(*) > 1;
SELECT id FROM s WHERE a > 'a' AND a < 'y';
SELECT id FROM s WHERE a IN ('twelve chars', 'thirteen char', 'x') OR b = 'é';
SELECT a FROM s INTERSECT SELECT b FROM s;
SELECT a FROM s EXCEPT SELECT b FROM s;
SELECT levenshtein(a, b), jaccard(a, b) > 0.5 FROM s WHERE length(a) > 0 AND id < 9;
SELECT md5(a), sha256(b), hex(a), to_base64(b::BLOB) FROM s WHERE id < 6;
SELECT id FROM s WHERE a COLLATE NOCASE = b;
SELECT a COLLATE NOCASE AS n, count(*) FROM (SELECT lower(a) AS a FROM s) GROUP BY n;
