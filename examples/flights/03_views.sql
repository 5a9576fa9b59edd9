-- Answers that are kept up to date with every event.

-- How many flights of each carrier are in the air.
CREATE MATERIALIZED VIEW in_the_air AS
SELECT a.name AS airline,
       sum(CASE f.event WHEN 'departed' THEN 1 WHEN 'cancelled' THEN 0 ELSE -1 END) AS flights,
       count(*) FILTER (f.event = 'departed') AS departed,
       count(*) FILTER (f.event = 'cancelled') AS cancelled
FROM flights f JOIN airlines a ON a.carrier = f.carrier
GROUP BY a.name;

-- Departure delays by origin and hour.
CREATE MATERIALIZED VIEW delays_by_hour AS
SELECT origin, window_start AS hour,
       count(*) AS departures,
       avg(dep_delay) AS avg_delay,
       max(dep_delay) AS max_delay
FROM TUMBLE(flights, event_time, INTERVAL '1 hour')
WHERE event = 'departed'
GROUP BY origin, window_start, window_end;

-- How late each route arrives, with names. Some destinations are not in the list of airports: they keep their code.
CREATE MATERIALIZED VIEW routes AS
SELECT l.name AS airline, o.name AS from_airport, coalesce(d.name, f.dest) AS to_airport,
       count(*) AS arrivals,
       avg(f.arr_delay) AS avg_delay,
       count(*) FILTER (f.arr_delay > 60) AS very_late
FROM flights f
JOIN airlines l ON l.carrier = f.carrier
JOIN airports o ON o.faa = f.origin
LEFT JOIN airports d ON d.faa = f.dest
WHERE f.event = 'arrived'
GROUP BY l.name, o.name, coalesce(d.name, f.dest);

-- Every departure, with its aircraft and the weather at its origin in that hour.
CREATE MATERIALIZED VIEW departures AS
SELECT f.flight_id, f.event_time, f.carrier, f.origin, f.dep_delay, p.manufacturer, w.visib, w.wind_speed, w.precip
FROM flights f
LEFT JOIN weather w ON w.origin = f.origin AND w.time_hour = f.hour
LEFT JOIN planes p ON p.tailnum = f.tailnum
WHERE f.event = 'departed';

-- What the weather does to punctuality: a view on a view.
CREATE MATERIALIZED VIEW delay_by_weather AS
SELECT origin,
       CASE WHEN visib IS NULL THEN 'unknown' WHEN precip > 0.05 THEN 'rain or snow' WHEN visib < 3 THEN 'fog'
            WHEN wind_speed > 20 THEN 'windy' ELSE 'fair' END AS weather,
       count(*) AS departures,
       avg(dep_delay) AS avg_delay,
       count(*) FILTER (dep_delay > 30) AS late
FROM departures
GROUP BY ALL;
