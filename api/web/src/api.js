// @ts-check
// Reads the twin's HTTP interface. The addresses are relative to the page, so it may be served below any path.
import {lang, t} from './i18n.js';

/** @typedef {import('./i18n.js').Title} Title */
/** @typedef {[number, number, number, number]} Box west, south, east, north in degrees */
/** @typedef {{type: string, title: Title, unit: string | null, values?: Record<string, Title>}} Field */
/** @typedef {{colour: string, shape: 'circle' | 'line' | 'fill', label: Title}} LegendEntry */
/**
 * @typedef {object} Collection one dataset
 * @property {string} id
 * @property {{spatial: {bbox: Box[]}}} extent
 * @property {{title: Title, system: string, system_title: Title, kind: string, geometry: string, owner: string,
 *   rate: string, count: number | null, synthetic: boolean, updated_at: string | null, fields: Record<string, Field>,
 *   style: {layers: any[], legend: LegendEntry[], minzoom?: number, default?: boolean}}} twin
 */
/**
 * @typedef {object} Indicator
 * @property {string} id
 * @property {Title} title
 * @property {string} unit
 * @property {string} dataset
 * @property {string} system
 * @property {number} resolution the finest there is
 * @property {string | null} window
 */
/**
 * @typedef {object} City
 * @property {Title} title
 * @property {Box} bounds
 * @property {[number, number]} centre
 * @property {string} zone
 * @property {{finest: number, coarsest: number}} resolutions
 * @property {string | null} map_approval_no
 */
/** @typedef {{city: City, synthetic: boolean}} Landing */
/** @typedef {{colour: string, from: number | null, to: number | null, label: Title}} CellClass */
/** @typedef {GeoJSON.FeatureCollection & {legend: CellClass[], datetime: string | null, count: number, resolution: number}} Cells */
/** @typedef {GeoJSON.Feature & {id: string, properties: Record<string, any>}} Item */
/** @typedef {{features: Item[], links?: {rel: string, href: string}[], numberMatched?: number}} Items */

/** Address of the API: one folder above `/maps/`. */
export const ROOT = new URL('../', location.href).href.replace(/[?#].*$/, '');

let pending = 0;

/** Number of requests on their way. */
export function inflight() {
  return pending;
}

/** An answer that is not one: `message` is for people. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 when the server was not reached
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Get JSON. Raises ApiError in words, or AbortError when `signal` says so.
 * @param {string} path below ROOT, or an absolute address
 * @param {Record<string, string | number>} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
async function get(path, query = {}, signal) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  pending += 1;
  try {
    const response = await fetch(url, {signal, headers: {Accept: 'application/json, application/geo+json', 'Accept-Language': lang}});
    if (!response.ok) throw await problem(response);
    return await response.json();
  } catch (error) {
    if (error instanceof ApiError || (error instanceof DOMException && error.name === 'AbortError')) throw error;
    throw new ApiError(t('error.unreachable'), 0);
  } finally {
    pending -= 1;
  }
}

/**
 * What the server says is wrong (RFC 9457).
 * @param {Response} response
 */
async function problem(response) {
  const body = await response.json().catch(() => ({}));
  return new ApiError(body.detail ?? body.title ?? t('error.status', {status: response.status}), response.status);
}

/** @returns {Promise<Landing>} */
export const landing = async () => (await get('', {f: 'json', lang})).twin;

/** @returns {Promise<Collection[]>} */
export const collections = async () => (await get('collections', {f: 'json', lang})).collections;

/** @returns {Promise<Indicator[]>} */
export const indicators = async () => (await get('indicators', {f: 'json', lang})).indicators;

/**
 * The parameter by which all doors are asked for a moment; none for now.
 * @param {Date | null} moment
 * @returns {Record<string, string>}
 */
const at = moment => (moment ? {datetime: `${moment.toISOString().slice(0, 19)}Z`} : {});

/** @returns {Promise<any>} */
export const basemap = () => get('basemaps/light/style.json', {lang});

/**
 * @param {string} dataset
 * @param {string} id
 * @param {Date | null} moment null: now
 * @returns {Promise<Item>}
 */
export const item = (dataset, id, moment) => get(itemPath(dataset, id), {f: 'json', lang, ...at(moment)});

/**
 * @param {string} dataset
 * @param {string} id
 */
export const itemPath = (dataset, id) => `collections/${dataset}/items/${encodeURIComponent(id)}`;

/**
 * The records in a box.
 * @param {string} dataset
 * @param {number[]} bbox
 * @param {Date | null} moment null: now
 * @param {number} limit
 * @param {AbortSignal} signal
 * @returns {Promise<Items>}
 */
export const items = (dataset, bbox, moment, limit, signal) =>
  get(`collections/${dataset}/items`, {f: 'json', lang, bbox: bboxText(bbox), limit, ...at(moment)}, signal);

/**
 * The next page, by the link of the last one.
 * @param {string} href
 * @returns {Promise<Items>}
 */
export const nextItems = href => get(href);

/**
 * @param {string} indicator
 * @param {number} resolution
 * @param {number[]} bbox
 * @param {Date | null} moment null: now
 * @param {AbortSignal} signal
 * @returns {Promise<Cells>}
 */
export const cells = (indicator, resolution, bbox, moment, signal) =>
  get(`indicators/${indicator}/cells`, {f: 'geojson', lang, resolution, bbox: bboxText(bbox), ...at(moment)}, signal);

/** @param {number[]} bbox */
const bboxText = bbox => bbox.map(degree => degree.toFixed(5)).join(',');

/**
 * @param {string} dataset
 * @param {Date | null} moment null: now
 */
export const tileJson = (dataset, moment) => {
  const query = new URLSearchParams(at(moment)).toString();
  return `${ROOT}collections/${dataset}/tiles/WebMercatorQuad/tilejson.json${query && `?${query}`}`;
};
