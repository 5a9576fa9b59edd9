-- TIMESTAMPTZ under the zone UTC: instants, conversions, local days of other zones, the hours of clock changes.
CREATE TABLE z(id BIGINT, tz TIMESTAMPTZ, tt TIMETZ, zone VARCHAR);
INSERT INTO z VALUES (1, '2024-03-31 00:59:59+00', '12:00:00+02', 'Europe/Berlin'), (2, '2024-03-31 01:00:00+00', '10:00:00+00', 'Europe/Berlin'),
  (3, '2024-10-27 02:30:00+02', '23:59:59-08', 'Europe/Berlin'), (4, '2024-10-27 02:30:00+01', NULL, 'America/New_York'), (5, NULL, '00:00:00+00', NULL),
  (6, '1970-01-01 00:00:00+00', '12:00:00+02', 'Asia/Kathmandu'), (7, '2024-03-31 03:00:00+02', '12:00:00+02', 'UTC');
SELECT * FROM z;
SELECT tz, count(*) FROM z GROUP BY tz;
SELECT tt, count(*) FROM z GROUP BY tt;
SELECT min(tz), max(tz), count(DISTINCT tz), min(tt), max(tt) FROM z;
SELECT a.id, b.id FROM z a JOIN z b ON a.tz = b.tz;
SELECT a.id, b.id FROM z a LEFT JOIN z b ON a.tz < b.tz AND a.zone = b.zone;
SELECT DISTINCT tz, zone FROM z;
-- refused: DISTINCT over an expression
SELECT DISTINCT tz, tt FROM z;
SELECT id, epoch(tz), epoch_us(tz) FROM z;
SELECT id FROM z WHERE tz >= TIMESTAMPTZ '2024-03-31 03:00:00+02';
SELECT id FROM z WHERE tt = '12:00:00+02'::TIMETZ OR tz IS NULL;
SELECT id, tz AT TIME ZONE 'Europe/Berlin' AS berlin, tz AT TIME ZONE 'America/New_York' AS ny FROM z;
SELECT id, tz AT TIME ZONE zone AS local FROM z;
SELECT date_trunc('day', tz AT TIME ZONE 'Asia/Kathmandu') AS d, count(*), min(id) FROM z GROUP BY d;
SELECT id, TIMESTAMP '2024-03-31 02:30:00' AT TIME ZONE zone AS instant FROM z;
SELECT id, tz::DATE, tz::TIMESTAMP, tz::VARCHAR, date_trunc('hour', tz), time_bucket(INTERVAL '1 day', tz) FROM z;
SELECT id, tz + INTERVAL '1 day', tz - INTERVAL '1 month', tz - TIMESTAMPTZ '2024-01-01 00:00:00+00' FROM z;
SELECT time_bucket(INTERVAL '1 hour', tz) AS h, count(*), max(tz) FROM z GROUP BY h;
SELECT extract(hour FROM tz) AS h, extract(timezone FROM tz) AS off, count(*) FROM z GROUP BY ALL;
SELECT id, strftime(tz, '%Y-%m-%d %H:%M:%S %z') FROM z;
