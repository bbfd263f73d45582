"""Asks everything once of a network, so that no question waits for the compiler."""

import numpy as np

from layers.roads.isochrone import Cells, reached
from layers.roads.routing import Router
from layers.roads.spots import Spots

__all__ = ["warm"]

_LIMIT_MS = 60_000


def warm(router: Router, cells: Cells) -> None:
    """Ask all questions of a router like this one, with traffic of its own: this one's is not touched."""
    network = router.network
    own = Router(network, router.hierarchy)
    edge = np.unique(np.linspace(0, network.edges - 1, 3).astype(np.int32))
    places = Spots(edge, np.full(len(edge), 0.5), *np.zeros((3, len(edge))))
    own.traffic.slow("warming", edge, np.full(len(edge), 0.5))
    for closed in (False, True):
        if closed:
            own.traffic.close(edge[:1])
        for customised in (False, True):
            if customised:
                own.customise()
            fleet = own.fleet(places)
            found = own.nearest(places[0], fleet, 2)
            own.ways(places[0], fleet, found)
            own.matrix(places, places)
        for towards in (False, True):
            reached(own, places, _LIMIT_MS, cells, towards=towards)
    own.locator.near(network.lon[:1], network.lat[:1], 1.0)
