// @ts-check
// An indicator as coloured H3 cells. The resolution follows the zoom; the cells come for a box somewhat larger than the screen,
// so that small moves ask for nothing.
import * as api from './api.js';
import {calmly} from './dom.js';
import {boxOf} from './map.js';
import {addRanked, RANK} from './stack.js';

/** @typedef {import('maplibre-gl').Map} MapLibre */
/** @typedef {import('./api.js').Indicator} Indicator */
/** @typedef {{cell: string, value: number, n: number}} CellHit */

const SOURCE = 'cells';
const FILL = 'cells-fill';
const PAUSE_MS = 150;
const MARGIN = 0.25;

/**
 * The H3 resolution whose cells are about 20 px across at `zoom`. Each resolution is 1.4 zoom levels (a factor of 2.65) finer.
 * @param {number} zoom
 * @param {number} finest
 * @param {number} coarsest
 */
export function resolutionAt(zoom, finest, coarsest) {
  const fitting = 8 + Math.floor((zoom - 9.8) / 1.4);
  return Math.min(finest, Math.max(Math.min(coarsest, finest), fitting));
}

export class Choropleth {
  /** @type {Indicator | null} */
  indicator = null;
  /** @type {'loading' | 'shown' | 'empty' | 'error'} */
  status = 'loading';
  /** What went wrong, in words. */
  fault = '';
  /** @type {import('./api.js').Cells | null} */
  cells = null;

  /** @type {MapLibre} */
  #map;
  /** @type {number} */
  #coarsest;
  /** @type {() => void} */
  #changed;
  /** @type {{resolution: number, box: number[]} | null} */
  #covered = null;
  #request = new AbortController();
  /** @type {Date | null} */
  #moment = null;

  /**
   * @param {MapLibre} map whose style is loaded
   * @param {number} coarsest resolution to show
   * @param {() => void} changed called when cells, legend or status change
   */
  constructor(map, coarsest, changed) {
    this.#map = map;
    this.#coarsest = coarsest;
    this.#changed = changed;
    map.addSource(SOURCE, {type: 'geojson', data: none(), tolerance: 0});
    addRanked(map, {id: FILL, type: 'fill', source: SOURCE, paint: {'fill-opacity': 0.72}}, RANK.area);
    map.on('moveend', calmly(() => this.#refresh(), PAUSE_MS));
  }

  /**
   * Show this indicator, or none, as it was at a moment.
   * @param {Indicator | null} indicator
   * @param {Date | null} moment null: now
   */
  set(indicator, moment) {
    const isOther = indicator?.id !== this.indicator?.id;
    const isLater = moment?.getTime() !== this.#moment?.getTime();
    this.indicator = indicator;
    this.#moment = moment;
    if (isOther) return this.retry();
    if (!isLater) return;
    this.#covered = null; // the old cells stay until the new ones are there
    this.#refresh();
  }

  /** Ask again. */
  retry() {
    this.#request.abort();
    this.#covered = null;
    this.#draw(null);
    this.#refresh();
  }

  /**
   * The cell at a point of the screen.
   * @param {{x: number, y: number}} point
   * @returns {CellHit | null}
   */
  at({x, y}) {
    const [found] = this.#map.queryRenderedFeatures([x, y], {layers: [FILL]});
    return found ? /** @type {CellHit} */ (found.properties) : null;
  }

  async #refresh() {
    const {indicator} = this;
    if (!indicator) return;
    const resolution = resolutionAt(this.#map.getZoom(), indicator.resolution, this.#coarsest);
    const seen = boxOf(this.#map);
    if (this.#covered?.resolution === resolution && contains(this.#covered.box, seen)) return;
    this.#request.abort();
    this.#request = new AbortController();
    this.#become('loading');
    const box = widened(seen);
    try {
      const cells = await api.cells(indicator.id, resolution, box, this.#moment, this.#request.signal);
      this.#covered = {resolution, box};
      this.#draw(cells);
      this.#become(cells.features.length ? 'shown' : 'empty');
    } catch (error) {
      if (!(error instanceof api.ApiError)) return; // another request took its place
      this.#covered = null;
      this.fault = error.message;
      this.#become('error');
    }
  }

  /** @param {Choropleth['status']} status */
  #become(status) {
    this.status = status;
    this.#changed();
  }

  /** @param {import('./api.js').Cells | null} cells */
  #draw(cells) {
    this.cells = cells;
    const source = /** @type {import('maplibre-gl').GeoJSONSource} */ (this.#map.getSource(SOURCE));
    if (cells?.legend.length) this.#map.setPaintProperty(FILL, 'fill-color', colours(cells.legend));
    source.setData(cells ?? none());
  }
}

/** @returns {GeoJSON.FeatureCollection} */
const none = () => ({type: 'FeatureCollection', features: []});

/**
 * A colour for each class, as a MapLibre expression: classes are in order, each up to the start of the next.
 * @param {import('./api.js').CellClass[]} legend
 * @returns {any}
 */
function colours(legend) {
  const [first, ...rest] = legend;
  return rest.length ? ['step', ['get', 'value'], first.colour, ...rest.flatMap(step => [step.from, step.colour])] : first.colour;
}

/** @param {number[]} box */
function widened([west, south, east, north]) {
  const [dx, dy] = [(east - west) * MARGIN, (north - south) * MARGIN];
  return [Math.max(west - dx, -180), Math.max(south - dy, -85), Math.min(east + dx, 180), Math.min(north + dy, 85)];
}

/**
 * @param {number[]} outer
 * @param {number[]} inner
 */
function contains(outer, inner) {
  return outer[0] <= inner[0] && outer[1] <= inner[1] && outer[2] >= inner[2] && outer[3] >= inner[3];
}
