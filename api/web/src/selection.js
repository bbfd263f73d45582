// @ts-check
// Marks the record whose card is open: an accent outline, and for a place that is not known well the circle it lies in.
import {token} from './dom.js';
import {calm} from './map.js';
import {addRanked, RANK} from './stack.js';

/** @typedef {import('maplibre-gl').Map} MapLibre */
/** @typedef {import('./api.js').Item} Item */

const SOURCE = 'selection';
const UNCERTAIN_M = 50;
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
 */
export function goTo(map, geometry) {
  const [west, south, east, north] = extent(geometry);
  const duration = calm ? 0 : 600;
  map.fitBounds([west, south, east, north], {padding: 48, maxZoom: Math.max(map.getZoom(), 15), duration});
}

/**
 * Whether any part of the record's box is on the screen.
 * @param {MapLibre} map
 * @param {GeoJSON.Geometry} geometry
 */
export function isInView(map, geometry) {
  const [west, south, east, north] = extent(geometry);
  const box = map.getBounds();
  return west <= box.getEast() && east >= box.getWest() && south <= box.getNorth() && north >= box.getSouth();
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
