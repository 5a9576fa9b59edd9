-- Run from the root of the project: paths are the node's.
COPY airlines FROM 'examples/flights/data/airlines.csv.zst' (FORMAT csv, HEADER, NULLSTR 'NA');
COPY airports FROM 'examples/flights/data/airports.csv.zst' (FORMAT csv, HEADER, NULLSTR 'NA');
COPY planes FROM 'examples/flights/data/planes.csv.zst' (FORMAT csv, HEADER, NULLSTR 'NA');
COPY weather FROM 'examples/flights/data/weather.csv.zst' (FORMAT csv, HEADER, NULLSTR 'NA');
