#include <gtest/gtest.h>

#include "flow/detail/ops_feeder.h"

namespace millrace::flow {
namespace {

/// Row-wise operators, aggregates, joins, sets and subqueries over them.
const std::vector<std::string> kQueries = {
    "SELECT * FROM a",
    "SELECT id, k + 1 AS k1, upper(s), d * 2, x / 3 FROM a WHERE k % 3 = 1 AND s IS NOT NULL",
    "SELECT k, s FROM a WHERE ts >= TIMESTAMP '2024-01-01 06:00:00' OR f",
    "SELECT CASE WHEN k > 3 THEN 'big' WHEN k IS NULL THEN 'none' ELSE s END c, coalesce(x, -1) "
    "FROM a",
    "SELECT count(*) FROM a",
    "SELECT count(*), count(s), sum(k), avg(k), min(s), max(x), sum(d), avg(d), sum(x) FROM a",
    "SELECT k, count(*) n, sum(k) FROM a GROUP BY k",
    "SELECT k, s, count(*), sum(d), avg(x), min(ts), max(ts) FROM a GROUP BY k, s",
    "SELECT time_bucket(INTERVAL '1 hour', ts) w, count(*), sum(d) FROM a GROUP BY w",
    "SELECT date_trunc('day', ts) w, k, max(x), min(x), stddev(x) FROM a GROUP BY ALL",
    "SELECT k, count(DISTINCT s), sum(DISTINCT k), count(*) FILTER (WHERE f), "
    "min(x) FILTER (WHERE k > 2) FROM a GROUP BY k",
    "SELECT count(DISTINCT k), avg(DISTINCT d), max(DISTINCT s) FROM a",
    "SELECT k, count(*) n FROM a GROUP BY k HAVING count(*) > 2",
    "SELECT DISTINCT k, s FROM a",
    "SELECT DISTINCT time_bucket(INTERVAL '2 hours', ts) FROM a",
    "SELECT count_if(f), bool_and(f), bool_or(f), bit_xor(k) FROM a",
    "SELECT k, string_agg(s, ',' ORDER BY s, id) FROM a GROUP BY k",
    "SELECT k, list(id ORDER BY id DESC) FROM a GROUP BY k",
    "SELECT k, approx_count_distinct(s), median(x), quantile_cont(x, 0.9), "
    "quantile_disc(x, [0.25, 0.5]) FROM a GROUP BY k",
    "SELECT k, histogram(f), entropy(s), max(x, 2), arg_max(s, id, 3), corr(x, d), kurtosis(x), "
    "mad(x), regr_slope(x, d), favg(x), fsum(x), product(x), approx_quantile(x, 0.5) FROM a GROUP "
    "BY k",
    "SELECT list(DISTINCT k ORDER BY k), bitstring_agg(k, 0, 10), bit_and(k), bit_or(k), "
    "var_pop(x), sum(f::INTEGER), sum(f), count(f) FROM a",
    "SELECT k, count(*) FILTER (WHERE f), count(DISTINCT s) FILTER (WHERE x > 50), "
    "sum(DISTINCT d) FILTER (WHERE f) FROM a GROUP BY k",
    "SELECT h, min(st), max(st.q), min(m), count(DISTINCT st) FROM c GROUP BY h",
    "SELECT avg(h), avg(c.id), avg(c.k), avg(v), sum(h::HUGEINT) FROM c LEFT JOIN b ON c.k = b.k",
    "SELECT k, arg_max(s, id), arg_min(s, id), max(s), min(d) FROM a GROUP BY k",
    "SELECT n, count(*) FROM (SELECT k, count(*) n FROM a GROUP BY k) GROUP BY n",
    "SELECT max(t), min(t), avg(n) FROM (SELECT s, sum(d) t, count(*) n FROM a GROUP BY s)",
    "SELECT g, h, sum(h), avg(h) FROM c GROUP BY g, h",
    "SELECT st.p, st.q, count(*) FROM c GROUP BY ALL",
    "SELECT st, count(*) FROM c GROUP BY st",
    "SELECT m, count(*), min(st) FROM c GROUP BY m",
    "SELECT id, unnest(l) e FROM a",
    "SELECT e, count(*) FROM (SELECT unnest(l) e FROM a) GROUP BY e",
    "SELECT id, unnest(l) e, unnest([10, 20]) u FROM a",
    "SELECT id, unnest(map_keys(m)) mk, unnest(map_values(m)) mv FROM c",
    "SELECT a.id, e FROM a, unnest(a.l) t(e) WHERE e > 2",
    "SELECT id, unnest(range(k)) FROM a WHERE k < 4",
    // Joins.
    "SELECT a.id, b.id, name FROM a JOIN b ON a.k = b.k",
    "SELECT a.id, b.name, a.d FROM a JOIN b ON a.k = b.k AND a.s = b.name",
    "SELECT a.id, b.id FROM a JOIN b ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '2 hours' AND "
    "b.ts",
    "SELECT a.id, b.id FROM a JOIN b ON a.k IS NOT DISTINCT FROM b.k WHERE b.v > 3",
    "SELECT a.id, b.id, b.name FROM a LEFT JOIN b ON a.k = b.k",
    "SELECT a.id, b.id, b.v FROM a LEFT JOIN b ON a.k = b.k AND b.v > a.k",
    "SELECT a.id, b.id FROM a RIGHT JOIN b ON a.k = b.k AND a.s = b.name",
    "SELECT a.id, b.id FROM a FULL JOIN b ON a.k = b.k AND a.s = b.name",
    "SELECT a.id, b.id FROM a FULL JOIN b ON a.k = b.k AND a.id < b.v",
    "SELECT a.s, b.name, count(*), sum(a.d), max(b.v) FROM a JOIN b ON a.k = b.k GROUP BY ALL",
    "SELECT a.s, count(b.id), count(*) FROM a LEFT JOIN b ON a.k = b.k GROUP BY a.s",
    "SELECT a.id, b.name, c.g FROM a JOIN b ON a.k = b.k JOIN c ON b.k = c.k",
    "SELECT a.id, b.name, c.g FROM a LEFT JOIN b ON a.k = b.k LEFT JOIN c ON b.v = c.k",
    "SELECT x.id, y.id FROM a x JOIN a y ON x.k = y.k AND x.id < y.id",
    "SELECT a.id, b.id FROM a CROSS JOIN b WHERE a.k < 2 AND b.k < 2",
    "SELECT a.id, b.id FROM a JOIN b ON a.k < b.v AND b.v < 4",
    "SELECT a.id, b.id FROM a LEFT JOIN b ON a.k > b.v",
    "SELECT a.id, t.n FROM a JOIN (SELECT k, count(*) n FROM b GROUP BY k) t ON a.k = t.k",
    "SELECT t.k, u.n FROM (SELECT k, count(*) n FROM a GROUP BY k) t LEFT JOIN (SELECT k, sum(v) n "
    "FROM b GROUP BY k) u ON t.k = u.k",
    "SELECT time_bucket(INTERVAL '1 hour', a.ts) w, b.name, count(*), avg(a.x) FROM a LEFT JOIN b "
    "ON a.k = b.k GROUP BY ALL",
    // Sets.
    "SELECT k, s FROM a UNION ALL SELECT k, name FROM b",
    "SELECT k FROM a UNION SELECT k FROM b",
    "SELECT k FROM a EXCEPT SELECT k FROM b",
    "SELECT k, s FROM a INTERSECT SELECT k, name FROM b",
    "SELECT k, count(*) FROM (SELECT k FROM a UNION ALL SELECT k FROM b UNION ALL SELECT k FROM c) "
    "GROUP BY k",
    // Subqueries.
    "SELECT id FROM a WHERE k IN (SELECT k FROM b WHERE v > 2)",
    "SELECT id FROM a WHERE k NOT IN (SELECT k FROM b WHERE v > 7)",
    "SELECT id, k IN (SELECT k FROM b WHERE v > 5) AS is_in FROM a",
    "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k AND b.v > a.k)",
    "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.k)",
    "SELECT id, (SELECT max(v) FROM b WHERE b.k = a.k) mv FROM a",
    "SELECT id, k FROM a WHERE k > (SELECT avg(k) FROM b)",
    "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.v > 6)",
    "WITH t AS MATERIALIZED (SELECT k, count(*) n FROM a GROUP BY k) SELECT x.k, x.n, y.n FROM t x "
    "JOIN t y ON x.n = y.n",
    "SELECT a.id, w.label FROM a JOIN (VALUES (1, 'one'), (2, 'two'), (NULL, 'none')) w(k, label) "
    "ON "
    "a.k = w.k",
    "SELECT a.id, l.n FROM a, LATERAL (SELECT count(*) n FROM b WHERE b.k = a.k) l",
    "SELECT id, list_transform(l, lambda e: e * 2), list_sum(l) FROM a",
    "SELECT id FROM a WHERE list_contains(l, 3) ORDER BY id",
    "SELECT dt, dt + INTERVAL '1 day' nd, count(*) FROM b GROUP BY dt",
    "SELECT k, count(*) FROM a WHERE id < 0 GROUP BY k",
    "SELECT sum(k), 42 AS c FROM a WHERE id < 0",
};

TEST(Translate, ViewsOverTablesEqualDuckDB) { compare_all(kQueries, {}, 12); }
TEST(Translate, ViewsOverTopicsEqualDuckDB) { compare_all(kQueries, {"a", "b", "c"}, 12); }
TEST(Translate, ViewsOverATopicAndTablesEqualDuckDB) { compare_all(kQueries, {"a"}, 12); }

}  // namespace
}  // namespace millrace::flow
