-- UNNEST in SELECT and FROM: empty and NULL lists, several at once, of structs and maps, below aggregates and joins; range().
CREATE TABLE t(id BIGINT, k INTEGER, l INTEGER[], w VARCHAR[], st STRUCT(a INTEGER, b VARCHAR)[], ll INTEGER[][]);
INSERT INTO t VALUES (1, 1, [1, 2, 3], ['a', 'b'], [{'a': 1, 'b': 'x'}], [[1, 2], [3]]), (2, 2, [], [], [], []), (3, 3, NULL, NULL, NULL, NULL), (4, 1, [NULL, 1], ['a'], [{'a': NULL, 'b': 'y'}, NULL], [NULL, [], [4]]), (5, NULL, [7], ['c', 'd', 'e'], [{'a': 5, 'b': NULL}], [[NULL]]), (5, NULL, [7], ['c', 'd', 'e'], [{'a': 5, 'b': NULL}], [[NULL]]);
SELECT id, unnest(l) AS e FROM t;
SELECT id, unnest(l) AS e, unnest(w) AS f FROM t;
SELECT id, unnest(l) + k AS e FROM t;
SELECT id, unnest(st) AS s FROM t;
SELECT id, unnest(st, recursive := true) FROM t;
SELECT id, unnest(ll, recursive := true) AS e FROM t;
SELECT t.id, u.e FROM t, unnest(t.l) u(e);
SELECT t.id, u.e FROM t CROSS JOIN unnest(t.w) u(e) WHERE u.e > 'a';
-- refused: this LATERAL subquery
SELECT t.id, u.e FROM t LEFT JOIN unnest(t.l) u(e) ON true;
SELECT e, count(*), sum(id) FROM (SELECT id, unnest(l) AS e FROM t) GROUP BY e;
SELECT a.id, b.id, a.e FROM (SELECT id, unnest(w) AS e FROM t) a JOIN (SELECT id, unnest(w) AS e FROM t) b ON a.e = b.e AND a.id < b.id;
SELECT DISTINCT unnest(l) AS e FROM t;
SELECT id, unnest(range(k)) AS i FROM t;
SELECT id, unnest(generate_series(1, k)) AS i, k FROM t;
SELECT t.id, r.n FROM t JOIN range(4) r(n) ON r.n = t.k;
SELECT unnest([1, 2, 2]) AS n;
SELECT id, unnest([10, 20]) AS n FROM t;
SELECT id FROM t WHERE 1 IN (SELECT unnest(l));
-- refused: this LATERAL subquery
SELECT id, (SELECT sum(e) FROM (SELECT unnest(l) AS e)) AS s FROM t;
SELECT id, list_sum(l), list_aggregate(l, 'max') FROM t;
-- refused: this LATERAL subquery
SELECT id, (SELECT max(x) FROM unnest(l) u(x)) AS m FROM t;
SELECT max(e) FROM (SELECT unnest(l) AS e FROM t WHERE id > 1);
SELECT id, u.a, u.b FROM (SELECT id, unnest(st) AS u FROM t);
SELECT k, list(e ORDER BY e) FROM (SELECT k, unnest(l) e FROM t) GROUP BY k;
