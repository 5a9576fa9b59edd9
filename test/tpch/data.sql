-- TPC-H's tables with rows in the ranges of the specification (TPC-H 3.0.1, 4.2), at about scale factor 0.001; some lists are shorter, so
-- that every query finds rows. Randomness is a hash of the key: every run has the same rows.
-- After the base rows: orders for RF1, with keys in the gaps (o_orderkey % 32 >= 8), and second versions of some rows, with the same keys.
CREATE MACRO rnd(key, what, n) AS (hash(key, what, 'millrace') % n)::INTEGER;
CREATE MACRO pick(words, key, what) AS words[1 + rnd(key, what, len(words))];
CREATE MACRO phone(key, nation) AS (10 + nation) || '-' || (100 + rnd(key, 'p1', 900)) || '-' || (100 + rnd(key, 'p2', 900)) || '-' || (1000 + rnd(key, 'p3', 9000));
CREATE MACRO comment_of(key, special) AS CASE rnd(key, 'comment', 9) WHEN 0 THEN special WHEN 1 THEN 'the special pending requests sleep' ELSE
  pick(['furiously', 'carefully', 'quickly', 'blithely'], key, 'w1') || ' ' || pick(['bold', 'even', 'final', 'ironic', 'silent'], key, 'w2') || ' deposits' END;
CREATE TABLE region(r_regionkey INTEGER, r_name VARCHAR, r_comment VARCHAR);
INSERT INTO region SELECT n, ['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'][n + 1], comment_of(n, '') FROM range(5) r(n);
CREATE TABLE nation(n_nationkey INTEGER, n_name VARCHAR, n_regionkey INTEGER, n_comment VARCHAR);
INSERT INTO nation SELECT n, ['ALGERIA', 'ARGENTINA', 'BRAZIL', 'CANADA', 'EGYPT', 'ETHIOPIA', 'FRANCE', 'GERMANY', 'INDIA', 'INDONESIA', 'IRAN', 'IRAQ', 'JAPAN', 'JORDAN',
  'KENYA', 'MOROCCO', 'MOZAMBIQUE', 'PERU', 'CHINA', 'ROMANIA', 'SAUDI ARABIA', 'VIETNAM', 'RUSSIA', 'UNITED KINGDOM', 'UNITED STATES'][n + 1],
  [0, 1, 1, 1, 4, 0, 3, 3, 2, 2, 4, 4, 2, 4, 0, 0, 0, 1, 2, 3, 4, 2, 3, 3, 1][n + 1], comment_of(n, '') FROM range(25) r(n);
CREATE TABLE supplier(s_suppkey INTEGER, s_name VARCHAR, s_address VARCHAR, s_nationkey INTEGER, s_phone VARCHAR, s_acctbal DECIMAL(15, 2), s_comment VARCHAR);
INSERT INTO supplier SELECT n, 'Supplier#' || lpad(n::VARCHAR, 9, '0'), 'address ' || rnd(n, 'address', 1000), n % 25, phone(n, n % 25), (rnd(n, 'acctbal', 1099999) - 99999) / 100.0,
  comment_of(n, 'even Customer silent Complaints') FROM range(1, 51) r(n);
CREATE TABLE part(p_partkey INTEGER, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, p_size INTEGER, p_container VARCHAR, p_retailprice DECIMAL(15, 2), p_comment VARCHAR);
INSERT INTO part SELECT n, pick(['almond', 'azure', 'blush', 'forest', 'green', 'ivory', 'lemon', 'navy'], n, 'c1') || ' ' || pick(['beige', 'coral', 'cyan', 'green', 'khaki', 'linen', 'mint'], n, 'c2'),
  'Manufacturer#' || (1 + rnd(n, 'mfgr', 5)), 'Brand#' || (1 + rnd(n, 'mfgr', 5)) || (1 + rnd(n, 'brand', 5)),
  pick(['STANDARD', 'SMALL', 'MEDIUM', 'LARGE', 'ECONOMY', 'PROMO'], n, 't1') || ' ' || pick(['ANODIZED', 'BURNISHED', 'PLATED', 'POLISHED', 'BRUSHED'], n, 't2') || ' ' || pick(['TIN', 'NICKEL', 'BRASS', 'STEEL', 'COPPER'], n, 't3'),
  1 + rnd(n, 'size', 50), pick(['SM', 'LG', 'MED', 'JUMBO', 'WRAP'], n, 'k1') || ' ' || pick(['CASE', 'BOX', 'BAG', 'JAR', 'PKG', 'PACK'], n, 'k2'),
  (90000 + n // 10 % 20001 + 100 * (n % 1000)) / 100.0, comment_of(n, '') FROM range(1, 201) r(n);
CREATE TABLE partsupp(ps_partkey INTEGER, ps_suppkey INTEGER, ps_availqty INTEGER, ps_supplycost DECIMAL(15, 2), ps_comment VARCHAR);
INSERT INTO partsupp SELECT p, (p + i * (12 + (p - 1) // 50)) % 50 + 1, 1 + rnd(p * 4 + i, 'availqty', 9999), (100 + rnd(p * 4 + i, 'cost', 99901)) / 100.0, comment_of(p * 4 + i, '')
  FROM range(1, 201) r(p), range(4) s(i);
CREATE TABLE customer(c_custkey INTEGER, c_name VARCHAR, c_address VARCHAR, c_nationkey INTEGER, c_phone VARCHAR, c_acctbal DECIMAL(15, 2), c_mktsegment VARCHAR, c_comment VARCHAR);
INSERT INTO customer SELECT n, 'Customer#' || lpad(n::VARCHAR, 9, '0'), 'address ' || rnd(n, 'address', 1000), rnd(n, 'nation', 25), phone(n, rnd(n, 'nation', 25)), (rnd(n, 'acctbal', 1099999) - 99999) / 100.0,
  pick(['AUTOMOBILE', 'BUILDING', 'FURNITURE', 'HOUSEHOLD', 'MACHINERY'], n, 'segment'), comment_of(n, '') FROM range(1, 151) r(n);
CREATE TABLE lineitem(l_orderkey INTEGER, l_linenumber INTEGER, l_partkey INTEGER, l_suppkey INTEGER, l_quantity DECIMAL(15, 2), l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2),
  l_returnflag VARCHAR, l_linestatus VARCHAR, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR, l_shipmode VARCHAR, l_comment VARCHAR);
INSERT INTO lineitem SELECT o, l, p, (p + rnd(x, 'supp', 4) * (12 + (p - 1) // 50)) % 50 + 1, q, q * (90000 + p // 10 % 20001 + 100 * (p % 1000)) / 100.0, rnd(x, 'discount', 11) / 100.0, rnd(x, 'tax', 9) / 100.0,
  CASE WHEN receipt > DATE '1995-06-17' THEN 'N' ELSE pick(['R', 'A'], x, 'flag') END, CASE WHEN ship > DATE '1995-06-17' THEN 'O' ELSE 'F' END, ship, ordered + 30 + rnd(x, 'commit', 61), receipt,
  pick(['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'], x, 'instruct'), pick(['REG AIR', 'AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB'], x, 'mode'), comment_of(x, '')
  FROM (SELECT *, ship + 1 + rnd(x, 'receipt', 30) AS receipt FROM (SELECT *, ordered + 1 + rnd(x, 'ship', 121) AS ship FROM (SELECT o, l, o * 8 + l AS x, 1 + rnd(o * 8 + l, 'part', 200) AS p, 1 + rnd(o * 8 + l, 'quantity', 50) AS q,
    DATE '1992-01-01' + rnd(o, 'date', 2406) AS ordered FROM (SELECT n // 8 * 32 + n % 8 + 1 AS o FROM range(1500) r(n) UNION ALL SELECT n * 32 + 9 FROM range(120) r(n)), range(1, 8) s(l) WHERE l <= 1 + rnd(o, 'lines', 7))));
CREATE TABLE orders(o_orderkey INTEGER, o_custkey INTEGER, o_orderstatus VARCHAR, o_totalprice DECIMAL(15, 2), o_orderdate DATE, o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority INTEGER, o_comment VARCHAR);
INSERT INTO orders SELECT l_orderkey, 1 + rnd(l_orderkey, 'cust', 50) * 3 + rnd(l_orderkey, 'cust2', 2), CASE WHEN min(l_linestatus) = max(l_linestatus) THEN min(l_linestatus) ELSE 'P' END,
  sum(l_extendedprice * (1 + l_tax) * (1 - l_discount)), DATE '1992-01-01' + rnd(l_orderkey, 'date', 2406), pick(['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW'], l_orderkey, 'priority'),
  'Clerk#' || lpad((1 + rnd(l_orderkey, 'clerk', 10))::VARCHAR, 9, '0'), 0, comment_of(l_orderkey, 'special packages about the requests') FROM lineitem GROUP BY l_orderkey ORDER BY l_orderkey;
INSERT INTO supplier SELECT * REPLACE (s_acctbal + 1000 AS s_acctbal, (s_nationkey + 1) % 25 AS s_nationkey) FROM supplier WHERE s_suppkey % 7 = 0;
INSERT INTO part SELECT * REPLACE (1 + p_size % 50 AS p_size, 'MED BOX' AS p_container) FROM part WHERE p_partkey % 6 = 0;
INSERT INTO partsupp SELECT * REPLACE (ps_supplycost / 2 AS ps_supplycost, ps_availqty + 100 AS ps_availqty) FROM partsupp WHERE ps_partkey % 5 = 0;
INSERT INTO customer SELECT * REPLACE (c_acctbal + 500 AS c_acctbal, 'BUILDING' AS c_mktsegment) FROM customer WHERE c_custkey % 4 = 0;
INSERT INTO orders SELECT * REPLACE ('1-URGENT' AS o_orderpriority, o_totalprice + 1 AS o_totalprice) FROM orders WHERE o_orderkey % 9 = 0;
INSERT INTO lineitem SELECT * REPLACE (l_quantity + 1 AS l_quantity, l_receiptdate + 10 AS l_receiptdate, 'MAIL' AS l_shipmode) FROM lineitem WHERE (l_orderkey + l_linenumber) % 10 = 0;
