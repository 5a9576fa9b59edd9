#include <gtest/gtest.h>

#include "flow/detail/ops_feeder.h"

namespace millrace::flow {
namespace {

/// Grouping sets, bag operations, marks that several conditions decide, ordinality, ASOF joins.
const std::vector<std::string> kQueries = {
    "SELECT k, s, count(*), sum(d) FROM a GROUP BY ROLLUP (k, s)",
    "SELECT k, s, f, count(*) FROM a GROUP BY CUBE (k, s, f)",
    "SELECT k, s, max(x) FROM a GROUP BY GROUPING SETS ((k), (s), (k), ())",
    "SELECT k, name, count(DISTINCT v), GROUPING(k) gk, GROUPING(name) gn, GROUPING_ID(k, name) g "
    "FROM b GROUP BY ROLLUP (k, name)",
    "SELECT k, count(*) FROM a GROUP BY GROUPING SETS ((k))",
    "SELECT k, sum(v) FROM b GROUP BY ROLLUP (k) HAVING GROUPING(k) = 1 OR sum(v) > 5",
    "SELECT k % 2 odd, s, sum(n) FROM (SELECT k, s, count(*) n FROM a GROUP BY k, s) GROUP BY CUBE "
    "(odd, s)",
    "SELECT k FROM a EXCEPT ALL SELECT k FROM b",
    "SELECT k, s FROM a INTERSECT ALL SELECT k, name FROM b",
    "SELECT x, d FROM a EXCEPT ALL SELECT -x * 0, d FROM a",
    "SELECT k FROM a EXCEPT ALL (SELECT k FROM b INTERSECT ALL SELECT k FROM c)",
    "SELECT id, k IN (SELECT b.v FROM b WHERE b.k = a.k) i FROM a",
    "SELECT id, k NOT IN (SELECT b.v FROM b WHERE b.name = a.s) i FROM a",
    "SELECT id FROM a WHERE k NOT IN (SELECT b.v FROM b WHERE b.k >= a.k)",
    "SELECT id FROM a WHERE k IN (SELECT b.v FROM b WHERE b.k = a.k) OR f",
    "SELECT id, k > ALL (SELECT v FROM b WHERE v < 4) g, k = ANY (SELECT v FROM b) e, k <> ALL "
    "(SELECT v FROM b) n FROM a",
    "SELECT id FROM a WHERE k >= ANY (SELECT v FROM b WHERE b.name = a.s)",
    "SELECT id FROM a WHERE k < ALL (SELECT v FROM b WHERE b.k = a.k)",
    "SELECT id, (k, s) IN (SELECT b.k, b.name FROM b WHERE b.k IS NOT NULL AND b.name IS NOT NULL) "
    "i FROM a WHERE k IS NOT NULL AND s IS NOT NULL",
    "SELECT id, e, o FROM a, unnest(l) WITH ORDINALITY t(e, o)",
    "SELECT id, o FROM a, unnest(l) WITH ORDINALITY t(e, o) WHERE e > 2",
    "SELECT e, o FROM unnest(['x', 'y', 'z']) WITH ORDINALITY t(e, o)",
    "SELECT a.id, l.id, l.v FROM a, LATERAL (SELECT id, v FROM b WHERE b.k = a.k AND b.v > a.k) l",
    "SELECT a.id, l.n FROM a LEFT JOIN LATERAL (SELECT count(*) n, max(v) m FROM b WHERE b.k = a.k "
    "GROUP BY b.name HAVING count(*) > 1) l ON l.m > 3",
    // ASOF. Which of several rows at the same time is taken is open: there is one for each. A NULL
    // time matches nothing here, and in DuckDB only while its left side has fewer than 64 rows.
    "SELECT a.id, b.v FROM (FROM a WHERE ts IS NOT NULL) a ASOF JOIN (SELECT k, ts, max(v) v FROM "
    "b GROUP BY k, ts) b ON a.k = "
    "b.k AND a.ts >= b.ts",
    "SELECT a.id, b.v, b.ts FROM (FROM a WHERE ts IS NOT NULL) a ASOF LEFT JOIN (SELECT k, ts, "
    "max(v) v FROM b GROUP BY k, ts) b "
    "ON a.k = b.k AND a.ts > b.ts",
    "SELECT a.id, b.ts FROM a ASOF JOIN (SELECT DISTINCT ts FROM b) b ON a.ts <= b.ts",
    "SELECT a.id, b.m FROM a ASOF LEFT JOIN (SELECT k, v, min(id) m FROM b GROUP BY k, v) b ON a.k "
    "= b.k AND a.k < b.v",
    "SELECT a.s, count(*), sum(b.v) FROM (FROM a WHERE ts IS NOT NULL) a ASOF JOIN (SELECT ts, "
    "name, max(v) v FROM b GROUP BY "
    "ALL) b ON a.s = b.name AND a.ts >= b.ts GROUP BY a.s",
};

TEST(Relational, ViewsOverTablesEqualDuckDB) { compare_all(kQueries, {}, 12); }
TEST(Relational, ViewsOverTopicsEqualDuckDB) { compare_all(kQueries, {"a", "b", "c"}, 10); }
TEST(Relational, ViewsOverATopicAndTablesEqualDuckDB) { compare_all(kQueries, {"b"}, 10); }

}  // namespace
}  // namespace millrace::flow
