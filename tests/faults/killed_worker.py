"""A worker process that tests may kill: it reads one feed in small steps until it is killed.

Importing this module does what takes long when a worker starts, so that forks of the importing process are soon at
work; nothing here starts a thread.
"""

import threading
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from ingest.running import work
from ingest.worker import Worker
from layers.catalog import catalog
from layers.feeds import Feed
from twin.city import load_city
from twin.cluster import Cluster
from twin.database import private_database
from twin.datum import parse_datum, to_city

__all__ = ["read"]

CITY = load_city("zaozhuang")
catalog()
for _word in ("wgs84", "gcj02"):
    to_city(np.array([117.3]), np.array([34.8]), parse_datum(_word), CITY)


def read(home: str, name: str, feed: Feed, most_messages: int, ready: Event) -> None:
    """Read the feed in the database `name` of the cluster in `home`, for ever; `ready` is set when it begins."""
    database = private_database(Cluster(Path(home), durable=False), name)
    worker = Worker(database, catalog(), CITY, Path(home), most_messages)
    ready.set()
    work(worker, [feed], threading.Event())
