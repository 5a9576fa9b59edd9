"""The flights of 2013 as events, in event-time order: what the demo, the tests and the benchmark replay."""
import csv
import io
import pathlib
import subprocess
from datetime import datetime, timedelta

DATA = pathlib.Path(__file__).parent / "data"
TAXI = timedelta(minutes=20)  # from landing to the gate, and from the gate to take-off: the data has the time in the air only


def rows(name):
    """The rows of one of the data files, as dicts; NA is None."""
    text = subprocess.run(["zstd", "-dcq", str(DATA / f"{name}.csv.zst")], check=True, capture_output=True, text=True).stdout
    return ({k: None if v == "NA" else v for k, v in row.items()} for row in csv.DictReader(io.StringIO(text)))


def clock_minutes(hhmm):
    return int(hhmm) // 100 * 60 + int(hhmm) % 100


def events_of(flight_id, row):
    """(event time, event, arrival delay) for each event of one flight."""
    hour = datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
    scheduled = hour + timedelta(minutes=int(row["minute"]))
    if row["dep_delay"] is None:
        yield scheduled, "cancelled", None
        return
    departs = scheduled + timedelta(minutes=int(row["dep_delay"]))
    yield departs, "departed", None
    if row["arr_delay"] is None:  # diverted: it lands somewhere, about when it was to
        planned = (clock_minutes(row["sched_arr_time"]) - clock_minutes(row["sched_dep_time"])) % (24 * 60)
        yield departs + timedelta(minutes=planned), "diverted", None
    else:
        yield departs + timedelta(minutes=int(row["air_time"])) + TAXI, "arrived", row["arr_delay"]


def all_events(limit=None):
    """[(event time, key, JSON value)] of the year, or of its first `limit` flights, in event-time order; key and value are bytes."""
    out = []
    for flight_id, row in enumerate(rows("flights")):
        if flight_id == limit:
            break
        text = {k: f'"{row[k]}"' if row[k] is not None else "null" for k in ("carrier", "tailnum", "origin", "dest")}
        hour = row["time_hour"][:-1]
        for moment, event, arr_delay in events_of(flight_id, row):
            value = (
                f'{{"event":"{event}","event_time":"{moment.isoformat()}","flight_id":{flight_id},"carrier":{text["carrier"]},'
                f'"flight":{row["flight"]},"tailnum":{text["tailnum"]},"origin":{text["origin"]},"dest":{text["dest"]},'
                f'"hour":"{hour}","dep_delay":{row["dep_delay"] or "null"},"arr_delay":{arr_delay or "null"},'
                f'"air_time":{row["air_time"] or "null"},"distance":{row["distance"]}}}'
            )
            out.append((moment, str(flight_id).encode(), value.encode()))
    out.sort(key=lambda e: e[0])
    return out
