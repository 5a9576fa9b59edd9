-- One materialized view a query; `-- name: what it is`.

-- q0: pass through
SELECT auction, bidder, price, "dateTime", extra FROM bid;

-- q1: currency conversion
SELECT auction, bidder, CAST(0.908::DECIMAL(4,3) * price AS DECIMAL(23,3)) AS price, "dateTime", extra FROM bid;

-- q2: selection
SELECT auction, price FROM bid WHERE auction % 123 = 0;

-- q3: local item suggestion
SELECT p.name, p.city, p.state, a.id
FROM auction a JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');

-- q4: average winning price of a category
SELECT category, SUM(final)::BIGINT // COUNT(*) AS avg_final
FROM (SELECT MAX(b.price) AS final, a.category
      FROM auction a JOIN bid b ON a.id = b.auction AND b."dateTime" BETWEEN a."dateTime" AND a.expires
      GROUP BY a.id, a.category)
GROUP BY category;

-- q5: the auctions with the most bids in 10 s, every 2 s
WITH counts AS (
  SELECT auction, COUNT(*) AS num, window_start, window_end
  FROM HOP((SELECT auction, "dateTime" FROM bid), "dateTime", INTERVAL '2 seconds', INTERVAL '10 seconds')
  GROUP BY auction, window_start, window_end)
SELECT c.auction, c.num, epoch_ms(c.window_start) AS starttime, epoch_ms(c.window_end) AS endtime
FROM counts c
JOIN (SELECT MAX(num) AS most, window_start FROM counts GROUP BY window_start) m
  ON c.window_start = m.window_start AND c.num = m.most;

-- q7: the highest bid of each 10 s
SELECT b.auction, b.price, b.bidder, epoch_ms(b."dateTime") AS "dateTime", b.extra
FROM bid b
JOIN (SELECT MAX(price) AS maxprice, window_end AS endtime FROM TUMBLE(bid, "dateTime", INTERVAL '10 seconds') GROUP BY window_end) t
  ON b.price = t.maxprice AND b."dateTime" BETWEEN t.endtime - INTERVAL '10 seconds' AND t.endtime;

-- q8: who is new and opens an auction within the same 10 s
SELECT p.id, p.name, epoch_ms(p.window_start) AS starttime
FROM (SELECT DISTINCT id, name, window_start FROM TUMBLE(person, "dateTime", INTERVAL '10 seconds')) p
JOIN (SELECT DISTINCT seller, window_start FROM TUMBLE(auction, "dateTime", INTERVAL '10 seconds')) a
  ON p.id = a.seller AND p.window_start = a.window_start;

-- q11: the sessions of each bidder, who pauses for 10 s
SELECT bidder, COUNT(*) AS bid_count, epoch_ms(window_start) AS starttime, epoch_ms(window_end) AS endtime
FROM SESSION((SELECT bidder, "dateTime" FROM bid), "dateTime", INTERVAL '10 seconds', bidder)
GROUP BY bidder, window_start, window_end;

-- q18: the last bid of each bidder on each auction
SELECT auction, bidder, MAX("dateTime") AS "dateTime" FROM bid GROUP BY auction, bidder;
