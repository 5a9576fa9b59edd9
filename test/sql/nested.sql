-- Lists, arrays, structs, maps, unions, enums, JSON text, UUIDs, as values and as keys.
CREATE TABLE n(id BIGINT, l INTEGER[], ll VARCHAR[][], st STRUCT(p INTEGER, q VARCHAR), m MAP(VARCHAR, INTEGER), ar INTEGER[3], ls STRUCT(a INTEGER, b VARCHAR)[],
  e ENUM('red', 'green', 'blue'), u UUID);
INSERT INTO n VALUES (1, [1, 2, 3], [['a'], []], {'p': 1, 'q': 'x'}, MAP {'u': 1, 'v': 2}, [1, 2, 3], [{'a': 1, 'b': 'x'}, {'a': 2, 'b': NULL}], 'red', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
  (2, [], NULL, {'p': NULL, 'q': 'y'}, MAP {}, [1, 2, NULL], [], 'green', NULL), (3, NULL, [NULL], NULL, NULL, NULL, NULL, NULL, '00000000-0000-0000-0000-000000000000'),
  (4, [NULL, 5], [['long text, longer than twelve', NULL]], {'p': 1, 'q': 'x'}, MAP {'v': 7}, [4, 5, 6], [NULL, {'a': NULL, 'b': NULL}], 'blue', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
  (5, [3, 1, 2], [[]], {'p': 2, 'q': NULL}, MAP {'u': NULL}, [1, 2, 3], [{'a': 1, 'b': 'x'}], 'red', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
  (6, [1, 2, 3], [['a'], []], {'p': 1, 'q': 'x'}, MAP {'u': 1, 'v': 2}, [1, 2, 3], [{'a': 1, 'b': 'x'}, {'a': 2, 'b': NULL}], 'red', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
SELECT * FROM n;
SELECT id, l[1], l[-1], l[2:3], len(l), list_contains(l, 3), list_sum(l), list_sort(l), list_reverse(l) FROM n;
SELECT id, list_transform(l, lambda x: x * 2), list_filter(l, lambda x: x > 1), list_distinct(l) FROM n WHERE id <> 4;
SELECT id, l || [9], list_append(l, id::INTEGER), array_to_string(ll[1], '-') FROM n;
SELECT id, st.p, st.q, st['q'], struct_insert(st, r := id) FROM n;
SELECT id, m['u'], map_keys(m), map_values(m), cardinality(m) FROM n;
SELECT id, ar[1], ar::INTEGER[], array_length(ar) FROM n;
SELECT id, ls[1].a, list_transform(ls, lambda x: x.b) FROM n;
SELECT id, e, e::VARCHAR, e = 'red', e > 'red' FROM n;
SELECT l, count(*) FROM n GROUP BY l;
SELECT ll, count(*) FROM n GROUP BY ll;
SELECT st, count(*), max(id) FROM n GROUP BY st;
SELECT m, count(*) FROM n GROUP BY m;
SELECT ar, count(*) FROM n GROUP BY ar;
SELECT ls, count(*) FROM n GROUP BY ls;
SELECT e, count(*) FROM n GROUP BY e;
SELECT u, count(*), min(id) FROM n GROUP BY u;
SELECT DISTINCT l, st FROM n;
SELECT DISTINCT ls FROM n;
SELECT a.id, b.id FROM n a JOIN n b ON a.l = b.l;
SELECT a.id, b.id FROM n a LEFT JOIN n b ON a.st = b.st AND a.id < b.id;
SELECT a.id, b.id FROM n a JOIN n b ON a.u = b.u AND a.e = b.e;
SELECT a.id, b.id FROM n a FULL JOIN n b ON a.st.p = b.l[1];
SELECT a.id, b.id FROM n a JOIN n b ON a.ls IS NOT DISTINCT FROM b.ls;
SELECT min(l), max(l), min(st), max(st), max(u), max(e) FROM n;
SELECT count(DISTINCT l), count(DISTINCT st), count(DISTINCT m), count(DISTINCT e) FROM n;
SELECT list(l ORDER BY id), list(st ORDER BY id DESC) FROM n;
SELECT e, list(u ORDER BY id), list(DISTINCT st.p ORDER BY st.p) FROM n GROUP BY e;
SELECT st.p, arg_max(l, id), arg_min(m, id) FROM n GROUP BY st.p;
SELECT id FROM n WHERE l = [1, 2, 3] AND st = {'p': 1, 'q': 'x'};
SELECT id FROM n WHERE st.p = 1 AND e IN ('red', 'blue');
SELECT id FROM n WHERE l > [1] OR l IS NULL;
SELECT l FROM n EXCEPT SELECT [1, 2, 3];
SELECT st FROM n INTERSECT SELECT {'p': 1, 'q': 'x'};
SELECT l FROM n UNION SELECT [st.p] FROM n;
SELECT id, unnest(ls) FROM n;
SELECT id, unnest(st) FROM n;
SELECT id, k, v FROM (SELECT id, unnest(map_keys(m)) k, unnest(map_values(m)) v FROM n);
SELECT id, json_object('id', id, 'l', l)::VARCHAR, to_json(st)::VARCHAR FROM n;
SELECT id, '{"a": {"b": [1, 2]}}'::JSON->'a'->'b'->>id::INTEGER FROM n WHERE id < 3;
SELECT id, union_value(num := id) FROM n;
