// @ts-check
// The order of the map's layers from the ground up. Each layer carries its rank in `metadata["twin:rank"]`, the basemap's too
// (basemaps/style.py): its ground is 0, its road network 20, its labels 40.

/** @typedef {import('maplibre-gl').Map} MapLibre */

export const RANK = {area: 10, solid: 25, line: 30, point: 35, text: 45, mark: 60};

/** @type {Record<string, number>} */
const RANK_OF_TYPE = {
  fill: RANK.area, heatmap: RANK.area, 'fill-extrusion': RANK.solid, line: RANK.line, circle: RANK.point, symbol: RANK.text,
};

/** Fonts of labels: MapLibre draws them with the reader's own. */
const FONTS = ['Noto Sans SC', 'Noto Sans CJK SC', 'Source Han Sans SC', 'Microsoft YaHei', 'PingFang SC', 'sans-serif'];

/**
 * Add a layer at the height of its rank.
 * @param {MapLibre} map
 * @param {any} layer a MapLibre layer
 * @param {number} [rank] by default that of its type
 */
export function addRanked(map, layer, rank = RANK_OF_TYPE[layer.type] ?? RANK.area) {
  const above = map.getLayersOrder().find(id => rankOf(map, id) > rank);
  const text = layer.type === 'symbol' ? {layout: {'text-font': FONTS, ...layer.layout}} : {};
  map.addLayer({...layer, ...text, metadata: {...layer.metadata, 'twin:rank': rank}}, above);
}

/**
 * How high a dataset lies: the rank of its topmost shape.
 * @param {{type: string}[]} layers MapLibre layers
 */
export function heightOf(layers) {
  return Math.max(...layers.filter(({type}) => type !== 'symbol').map(({type}) => RANK_OF_TYPE[type] ?? RANK.area));
}

/**
 * @param {MapLibre} map
 * @param {string} id
 * @returns {number}
 */
function rankOf(map, id) {
  const metadata = /** @type {any} */ (map.getLayer(id)?.metadata);
  return metadata?.['twin:rank'] ?? 0;
}
