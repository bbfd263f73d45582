// @ts-check
// The whole state of the page lives in its address: `?lang=zh#map=10.2/34.81/117.32&layers=a,b&indicator=c&feature=a/1&records=a&at=2026-11-26T00:00:00Z`.
// A copied link shows the same; back and forward walk through what was opened.

/** @typedef {{zoom: number, centre: [number, number], bearing: number, pitch: number}} Camera */
/** @typedef {{dataset: string, id: string}} FeatureRef */
/**
 * @typedef {object} State
 * @property {Camera | null} camera null: the whole city
 * @property {string[] | null} layers datasets on the map; null: the default ones
 * @property {string | null} indicator
 * @property {FeatureRef | null} feature whose card is open
 * @property {string | null} records dataset whose records are listed
 * @property {Date | null} at moment that is shown; null: now
 * @property {number | null} speed at which the clock runs from there; null: it stands
 */

/**
 * Read the state from an address. What cannot be read is left out.
 * @param {string} hash
 * @returns {State}
 */
export function readState(hash) {
  const values = new Map(hash.replace(/^#/, '').split('&').map(part => {
    const [name, ...rest] = part.split('=');
    return [name, rest.join('=')];
  }));
  const layers = values.get('layers');
  return {
    camera: readCamera(values.get('map')),
    layers: layers === undefined ? null : layers.split(',').filter(Boolean).map(decode),
    indicator: decode(values.get('indicator') ?? '') || null,
    feature: readFeature(values.get('feature')),
    records: decode(values.get('records') ?? '') || null,
    at: readMoment(values.get('at')),
    speed: readSpeed(values.get('speed')),
  };
}

/**
 * Write the state as the part of an address behind `#`.
 * @param {State} state
 */
export function writeState(state) {
  const parts = [];
  if (state.camera) parts.push(`map=${writeCamera(state.camera)}`);
  if (state.layers) parts.push(`layers=${state.layers.join(',')}`);
  if (state.indicator) parts.push(`indicator=${state.indicator}`);
  if (state.feature) parts.push(`feature=${state.feature.dataset}/${encodeURIComponent(state.feature.id)}`);
  if (state.records) parts.push(`records=${state.records}`);
  if (state.at) parts.push(`at=${state.at.toISOString().slice(0, 19)}Z`);
  if (state.speed) parts.push(`speed=${state.speed}`);
  return `#${parts.join('&')}`;
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ''; // a broken escape: as if it was not there
  }
}

/** @param {string | undefined} text RFC 3339 */
function readMoment(text) {
  const moment = new Date(decode(text ?? ''));
  return Number.isNaN(moment.getTime()) ? null : moment;
}

/** @param {string | undefined} text */
function readSpeed(text) {
  const speed = Number(text);
  return speed >= 1 && speed <= 86_400 ? speed : null;
}

/**
 * `zoom/lat/lon[/bearing/pitch]`, as other MapLibre pages write it.
 * @param {string | undefined} text
 * @returns {Camera | null}
 */
function readCamera(text) {
  const numbers = (text ?? '').split('/').map(Number);
  const [zoom, latitude, longitude, bearing = 0, pitch = 0] = numbers;
  if (numbers.length < 3 || numbers.some(number => !Number.isFinite(number))) return null;
  if (Math.abs(latitude) > 85 || Math.abs(longitude) > 180 || zoom < 0 || zoom > 24) return null;
  return {zoom, centre: [longitude, latitude], bearing, pitch: Math.min(Math.max(pitch, 0), 60)};
}

/** @param {Camera} camera */
function writeCamera({zoom, centre: [longitude, latitude], bearing, pitch}) {
  const flat = `${zoom.toFixed(2)}/${latitude.toFixed(5)}/${longitude.toFixed(5)}`;
  return Math.abs(bearing) < 0.05 && pitch < 0.05 ? flat : `${flat}/${bearing.toFixed(1)}/${pitch.toFixed(1)}`;
}

/**
 * @param {string | undefined} text
 * @returns {FeatureRef | null}
 */
function readFeature(text) {
  const cut = text?.indexOf('/') ?? -1;
  if (!text || cut < 1) return null;
  const id = decode(text.slice(cut + 1));
  return id ? {dataset: text.slice(0, cut), id} : null;
}
