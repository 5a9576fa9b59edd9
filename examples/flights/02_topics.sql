-- A flight is two events: it departs (its departure delay is known), and hours later it arrives (its arrival delay is
-- known). A cancelled flight is one event, a diverted one arrives elsewhere, without an arrival delay.
CREATE TOPIC flights (
  event      VARCHAR NOT NULL,    -- departed, arrived, diverted, cancelled
  event_time TIMESTAMP NOT NULL,  -- UTC
  flight_id  INTEGER NOT NULL,    -- one number for both events of a flight
  carrier    VARCHAR,
  flight     INTEGER,
  tailnum    VARCHAR,
  origin     VARCHAR,
  dest       VARCHAR,
  hour       TIMESTAMP,           -- of the scheduled departure, UTC
  dep_delay  INTEGER,             -- minutes
  arr_delay  INTEGER,             -- minutes
  air_time   INTEGER,             -- minutes
  distance   INTEGER,             -- miles
  WATERMARK FOR event_time AS event_time - INTERVAL '5 minutes'
) WITH (partitions = 2, format = 'json', 'retention.ms' = -1);
