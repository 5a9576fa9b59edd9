-- NEXMark's events as one tagged stream of JSON, as its generator writes them.
CREATE TOPIC events (
  event_type INTEGER NOT NULL,
  "dateTime" TIMESTAMP NOT NULL,
  person     STRUCT(id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, city VARCHAR, state VARCHAR, extra VARCHAR),
  auction    STRUCT(id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, reserve BIGINT, expires TIMESTAMP, seller BIGINT,
                    category BIGINT, extra VARCHAR),
  bid        STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, extra VARCHAR),
  WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL '4 seconds'
) WITH (partitions = 2, format = 'json', 'retention.ms' = -1);

CREATE VIEW person AS
SELECT person.id, person.name, person.emailAddress, person.creditCard, person.city, person.state, "dateTime", person.extra
FROM events WHERE event_type = 0;

CREATE VIEW auction AS
SELECT auction.id, auction.itemName, auction.description, auction.initialBid, auction.reserve, "dateTime", auction.expires, auction.seller,
       auction.category, auction.extra
FROM events WHERE event_type = 1;

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, "dateTime", bid.extra
FROM events WHERE event_type = 2;
