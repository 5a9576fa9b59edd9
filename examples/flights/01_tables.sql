-- What is known of carriers, airports, aircraft and weather: tables, keyed rows in memory over a compacted log.
CREATE TABLE airlines (
  carrier VARCHAR PRIMARY KEY,
  name    VARCHAR NOT NULL
);

CREATE TABLE airports (
  faa   VARCHAR PRIMARY KEY,
  name  VARCHAR NOT NULL,
  lat   DOUBLE,
  lon   DOUBLE,
  alt   INTEGER,
  tz    INTEGER,
  dst   VARCHAR,
  tzone VARCHAR
);

CREATE TABLE planes (
  tailnum      VARCHAR PRIMARY KEY,
  year         INTEGER,
  type         VARCHAR,
  manufacturer VARCHAR,
  model        VARCHAR,
  engines      INTEGER,
  seats        INTEGER,
  speed        INTEGER,
  engine       VARCHAR
);

CREATE TABLE weather (
  origin     VARCHAR,
  year       INTEGER,
  month      INTEGER,
  day        INTEGER,
  hour       INTEGER,
  temp       DOUBLE,
  dewp       DOUBLE,
  humid      DOUBLE,
  wind_dir   INTEGER,
  wind_speed DOUBLE,
  wind_gust  DOUBLE,
  precip     DOUBLE,
  pressure   DOUBLE,
  visib      DOUBLE,
  time_hour  TIMESTAMP,
  PRIMARY KEY (origin, time_hour)
);
