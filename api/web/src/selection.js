// @ts-check
// Marks the record whose card is open: an accent outline, and for a place that is not known well the circle it lies in.
import {token} from './dom.js';
import {calm} from './map.js';
import {addRanked, RANK} from './stack.js';

/** @typedef {import('maplibre-gl').Map} MapLibre */
/** @typedef {import('./api.js').Item} Item */
/** @typedef {{left: number, right: number, top: number, bottom: number}} Room in px */

const SOURCE = 'selection';
const UNCERTAIN_M = 50;
const AROUND_PX = 48;
const CLOSE = 15;
const METRES_PER_DEGREE = 111_195;

/**
 * @param {MapLibre} map whose style is loaded
 */
export function prepareSelection(map) {
  map.addSource(SOURCE, {type: 'geojson', data: collection([])});
  const accent = token('accent');
  const isPoint = ['==', ['geometry-type'], 'Point'];
  const isCircle = ['==', ['get', 'role'], 'accuracy'];
  const layers = [
    {id: 'selection-accuracy', type: 'fill', filter: isCircle, paint: {'fill-color': accent, 'fill-opacity': 0.06}},
    {id: 'selection-line', type: 'line', filter: ['!', isPoint], paint: {'line-color': accent, 'line-width': ['case', isCircle, 1, 2]}},
    {
      id: 'selection-ring', type: 'circle', filter: isPoint,
      paint: {'circle-radius': 10, 'circle-opacity': 0, 'circle-stroke-color': accent, 'circle-stroke-width': 2},
    },
  ];
  for (const layer of layers) addRanked(map, {...layer, source: SOURCE}, RANK.mark);
}

/**
 * Mark this record, or none.
 * @param {MapLibre} map
 * @param {Item | null} item
 */
export function mark(map, item) {
  /** @type {GeoJSON.Feature[]} */
  const features = item?.geometry ? [{type: 'Feature', properties: {role: 'record'}, geometry: item.geometry}] : [];
  const accuracy_m = item?.properties.place_accuracy_m ?? 0;
  if (item?.geometry?.type === 'Point' && accuracy_m >= UNCERTAIN_M) {
    features.push({type: 'Feature', properties: {role: 'accuracy'}, geometry: circle(item.geometry.coordinates, accuracy_m)});
  }
  /** @type {import('maplibre-gl').GeoJSONSource} */ (map.getSource(SOURCE)).setData(collection(features));
}

/**
 * Move to a record: closer for a point, the whole of anything larger.
 * @param {MapLibre} map
 * @param {GeoJSON.Geometry} geometry
 * @param {Room} covered by panels
 */
export function goTo(map, geometry, covered) {
  const [west, south, east, north] = extent(geometry);
  // The map's own padding counts already: only what the sheet covers beyond it is added.
  const below = Math.max(0, covered.bottom - (map.getPadding().bottom ?? 0));
  const padding = {top: AROUND_PX, left: AROUND_PX, right: AROUND_PX, bottom: AROUND_PX + below};
  map.fitBounds([west, south, east, north], {padding, maxZoom: Math.max(map.getZoom(), CLOSE), duration: calm ? 0 : 600});
}

/**
 * Whether any part of the record's box is on the screen and not under a panel.
 * @param {MapLibre} map
 * @param {GeoJSON.Geometry} geometry
 * @param {Room} covered by panels
 */
export function isInView(map, geometry, covered) {
  const [west, south, east, north] = extent(geometry);
  const [corner, opposite] = [map.project([west, south]), map.project([east, north])];
  const {clientWidth, clientHeight} = map.getContainer();
  /** @param {'x' | 'y'} axis @param {number} from @param {number} to */
  const meets = (axis, from, to) => Math.min(corner[axis], opposite[axis]) <= to && Math.max(corner[axis], opposite[axis]) >= from;
  return meets('x', covered.left, clientWidth - covered.right) && meets('y', covered.top, clientHeight - covered.bottom);
}

/**
 * West, south, east, north of a geometry.
 * @param {GeoJSON.Geometry} geometry
 * @returns {[number, number, number, number]}
 */
export function extent(geometry) {
  /** @type {[number, number, number, number]} */
  const box = [180, 90, -180, -90];
  /** @param {any} part */
  const walk = part => {
    if (typeof part[0] !== 'number') return part.forEach(walk);
    box[0] = Math.min(box[0], part[0]);
    box[1] = Math.min(box[1], part[1]);
    box[2] = Math.max(box[2], part[0]);
    box[3] = Math.max(box[3], part[1]);
  };
  if (geometry.type === 'GeometryCollection') geometry.geometries.forEach(part => 'coordinates' in part && walk(part.coordinates));
  else walk(geometry.coordinates);
  return box;
}

/**
 * A circle on the ground as a polygon of 64 corners.
 * @param {GeoJSON.Position} centre
 * @param {number} radius_m
 * @returns {GeoJSON.Polygon}
 */
function circle([longitude, latitude], radius_m) {
  const [dx, dy] = [radius_m / METRES_PER_DEGREE / Math.cos((latitude * Math.PI) / 180), radius_m / METRES_PER_DEGREE];
  const ring = Array.from({length: 65}, (_, index) => {
    const angle = (index / 64) * 2 * Math.PI;
    return [longitude + dx * Math.cos(angle), latitude + dy * Math.sin(angle)];
  });
  return {type: 'Polygon', coordinates: [ring]};
}

/**
 * @param {GeoJSON.Feature[]} features
 * @returns {GeoJSON.FeatureCollection}
 */
const collection = features => ({type: 'FeatureCollection', features});
