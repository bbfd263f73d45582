// @ts-check
// Draws datasets as their contracts say, on demand: a dataset costs nothing until it is switched on.
import {tileJson} from './api.js';
import {token} from './dom.js';
import {Live} from './live.js';
import {addRanked, RANK} from './stack.js';

/** @typedef {import('maplibre-gl').Map} MapLibre */
/** @typedef {import('./api.js').Collection} Collection */
/** @typedef {'loading' | 'shown' | 'empty' | 'far' | 'error'} Status */
/** @typedef {{collection: Collection, layers: string[], status: Status, live: Live | null}} Drawn */
/** @typedef {{dataset: string, id: string, properties: Record<string, any>}} Hit */

const REACH_PX = 6;
/** @type {GeoJSON.FeatureCollection} */
const NOTHING = {type: 'FeatureCollection', features: []};

export class DataLayers {
  /** @type {Map<string, Drawn>} */
  #drawn = new Map();
  /** @type {MapLibre} */
  #map;
  /** @type {() => void} */
  #changed;
  /** @type {{source: string, sourceLayer?: string, id: string} | null} */
  #hovered = null;
  /** @type {Date | null} */
  #moment = null;

  /**
   * @param {MapLibre} map whose style is loaded
   * @param {() => void} changed called when the status of a dataset changes
   */
  constructor(map, changed) {
    this.#map = map;
    this.#changed = changed;
    map.on('idle', () => this.#look());
    map.on('zoomend', () => this.#look());
    map.on('error', event => this.#fail(/** @type {any} */ (event).sourceId));
  }

  /**
   * Show exactly these datasets, as they were at a moment. What is on the map stays until the new tiles are there.
   * @param {Collection[]} collections
   * @param {Date | null} moment null: now
   */
  set(collections, moment) {
    const isLater = moment?.getTime() !== this.#moment?.getTime();
    this.#moment = moment;
    const wanted = new Set(collections.map(collection => collection.id));
    for (const id of [...this.#drawn.keys()]) if (!wanted.has(id)) this.#remove(id);
    for (const collection of collections) {
      const drawn = this.#drawn.get(collection.id);
      if (drawn && Boolean(drawn.live) !== this.#moves(collection)) this.#remove(collection.id);
      if (!this.#drawn.has(collection.id)) this.#add(collection);
      else if (isLater) this.#renew(collection.id);
    }
    this.#uncover();
  }

  /**
   * Ask again for what could not be loaded.
   * @param {string} id
   */
  retry(id) {
    const drawn = this.#drawn.get(id);
    if (!drawn) return;
    this.#remove(id);
    this.#add(drawn.collection);
    this.#changed();
  }

  /**
   * @param {string} id
   * @returns {Status}
   */
  status(id) {
    return this.#drawn.get(id)?.status ?? 'loading';
  }

  /**
   * What is drawn near a point of the screen, topmost first, each record once.
   * @param {{x: number, y: number}} point
   * @returns {Hit[]}
   */
  at({x, y}) {
    const layers = [...this.#drawn.values()].flatMap(drawn => drawn.layers);
    if (layers.length === 0) return [];
    const found = this.#map.queryRenderedFeatures([[x - REACH_PX, y - REACH_PX], [x + REACH_PX, y + REACH_PX]], {layers});
    /** @type {Map<string, Hit>} */
    const hits = new Map();
    for (const {source, properties} of found) {
      const hit = {dataset: datasetOf(source), id: String(properties.id), properties};
      const key = `${hit.dataset}/${hit.id}`;
      if (!hits.has(key)) hits.set(key, hit);
    }
    return [...hits.values()];
  }

  /**
   * Outline the record under the pointer.
   * @param {Hit | null} hit
   */
  hover(hit) {
    const moves = hit && Boolean(this.#drawn.get(hit.dataset)?.live);
    const next = hit && {source: sourceOf(hit.dataset), ...(moves ? {} : {sourceLayer: hit.dataset}), id: hit.id};
    if (next?.id === this.#hovered?.id && next?.source === this.#hovered?.source) return;
    if (this.#hovered && this.#map.getSource(this.#hovered.source)) this.#map.setFeatureState(this.#hovered, {hover: false});
    if (next) this.#map.setFeatureState(next, {hover: true});
    this.#hovered = next;
  }

  /**
   * Whether a dataset is followed as it moves, and not drawn from tiles: tracks, at now.
   * @param {Collection} collection
   */
  #moves(collection) {
    return collection.twin.kind === 'track' && this.#moment === null;
  }

  /** @param {Collection} collection */
  #add(collection) {
    const {id} = collection;
    const source = sourceOf(id);
    const moves = this.#moves(collection);
    if (moves) this.#map.addSource(source, {type: 'geojson', data: NOTHING, promoteId: 'id'});
    else this.#map.addSource(source, {type: 'vector', url: tileJson(id, this.#moment), promoteId: {[id]: 'id'}});
    const part = moves ? {source} : {source, 'source-layer': id};
    const {layers, minzoom = 0} = collection.twin.style;
    const parts = layers.map((layer, index) => ({minzoom, ...layer, id: `${source}:${index}`}));
    for (const one of parts) addRanked(this.#map, {...one, ...part});
    for (const outline of outlines(source, part, minzoom)) addRanked(this.#map, outline, RANK.mark);
    const live = moves ? new Live(id, features => this.#move(source, features), () => this.#fail(source)) : null;
    this.#drawn.set(id, {collection, layers: parts.map(one => one.id), status: 'loading', live});
  }

  /**
   * Draw what moves where it is now.
   * @param {string} source
   * @param {import('./api.js').Item[]} features
   */
  #move(source, features) {
    const drawn = this.#drawn.get(datasetOf(source));
    if (!drawn) return;
    if (drawn.status === 'error') drawn.status = 'loading';
    const data = /** @type {import('maplibre-gl').GeoJSONSource} */ (this.#map.getSource(source));
    data.setData({type: 'FeatureCollection', features});
  }

  /** @param {string} id */
  #renew(id) {
    const drawn = this.#drawn.get(id);
    if (drawn?.status === 'error') return this.retry(id);
    if (drawn?.live) return;
    const source = /** @type {import('maplibre-gl').VectorTileSource} */ (this.#map.getSource(sourceOf(id)));
    source.setUrl(tileJson(id, this.#moment));
  }

  /** @param {string} id */
  #remove(id) {
    const source = sourceOf(id);
    this.#drawn.get(id)?.live?.close();
    if (this.#hovered?.source === source) this.#hovered = null;
    for (const layer of this.#map.getLayersOrder()) if (layer.startsWith(`${source}:`)) this.#map.removeLayer(layer);
    this.#map.removeSource(source);
    this.#drawn.delete(id);
  }

  /** The basemap leaves out the areas of what is shown as a dataset: they would lie over its own. */
  #uncover() {
    for (const id of this.#map.getLayersOrder()) {
      const layer = this.#map.getLayer(id);
      if (!layer?.type.startsWith('fill') || datasetOf(layer.source ?? '')) continue;
      this.#map.setLayoutProperty(id, 'visibility', this.#drawn.has(layer.sourceLayer ?? '') ? 'none' : 'visible');
    }
  }

  /** See what became of each dataset now that the map is at rest. */
  #look() {
    let changed = false;
    for (const [id, drawn] of this.#drawn) {
      if (drawn.status === 'error') continue;
      const status = this.#seen(id, drawn);
      changed ||= status !== drawn.status;
      drawn.status = status;
    }
    if (changed) this.#changed();
  }

  /**
   * @param {string} id
   * @param {Drawn} drawn
   * @returns {Status}
   */
  #seen(id, drawn) {
    if (this.#map.getZoom() < (drawn.collection.twin.style.minzoom ?? 0)) return 'far';
    if (!this.#map.isSourceLoaded(sourceOf(id))) return 'loading';
    return this.#map.queryRenderedFeatures({layers: drawn.layers}).length > 0 ? 'shown' : 'empty';
  }

  /** @param {string | undefined} source */
  #fail(source) {
    const drawn = source && this.#drawn.get(datasetOf(source));
    if (!drawn || drawn.status === 'error') return;
    drawn.status = 'error';
    this.#map.triggerRepaint(); // a source that failed draws nothing, so nothing else would bring the map to rest
    this.#changed();
  }
}

/** @param {string} dataset */
const sourceOf = dataset => `data:${dataset}`;

/** @param {string} source a source of the map; the basemap's belong to no dataset */
const datasetOf = source => (source.startsWith('data:') ? source.slice('data:'.length) : '');

/**
 * Layers that outline the record under the pointer.
 * @param {string} source
 * @param {{source: string, 'source-layer'?: string}} part what of the source they draw
 * @param {number} minzoom
 * @returns {any[]}
 */
function outlines(source, part, minzoom) {
  const shown = ['case', ['boolean', ['feature-state', 'hover'], false], 1, 0];
  const common = {...part, minzoom};
  const isPoint = ['==', ['geometry-type'], 'Point'];
  return [
    {
      ...common, id: `${source}:hover-line`, type: 'line', filter: ['!', isPoint],
      paint: {'line-color': token('accent'), 'line-width': 1, 'line-opacity': shown},
    },
    {
      ...common, id: `${source}:hover-ring`, type: 'circle', filter: isPoint,
      paint: {'circle-radius': 9, 'circle-opacity': 0, 'circle-stroke-color': token('accent'), 'circle-stroke-width': 1, 'circle-stroke-opacity': shown},
    },
  ];
}
