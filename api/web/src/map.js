// @ts-check
// The one place where a map is made: worker, camera, controls, keyboard, and what happens when the graphics card gives up.
import {Map as MapLibre, NavigationControl, ScaleControl, setWorkerUrl} from 'maplibre-gl';
import workerUrl from 'maplibre-gl/dist/maplibre-gl-worker.mjs?url';
import {inflight} from './api.js';
import {iconButton, token} from './dom.js';
import {t} from './i18n.js';

/** @typedef {import('./url.js').Camera} Camera */

setWorkerUrl(new URL(workerUrl, location.href).href);

/** Whether the reader asked for less motion. */
export const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;

/** Whether the browser can draw the map at all. */
export function canDraw() {
  const context = document.createElement('canvas').getContext('webgl2');
  context?.getExtension('WEBGL_lose_context')?.loseContext(); // browsers allow only a few: give it back
  return context !== null;
}

/**
 * A map with its controls.
 * @param {object} options
 * @param {HTMLElement} options.container
 * @param {any} options.style a MapLibre style; null: bare ground
 * @param {Camera | null} options.camera null: the whole of `bounds`
 * @param {import('./api.js').Box} options.bounds of the city
 * @param {import('maplibre-gl').PaddingOptions} options.padding room taken by panels
 * @param {() => void} options.openTime shows the time bar
 */
export function createMap({container, style, camera, bounds, padding, openTime}) {
  const map = new MapLibre({
    container,
    style: style ?? bareGround(),
    attributionControl: false,
    fadeDuration: calm ? 0 : 150,
    maxPitch: 60,
    minZoom: 4,
    maxZoom: 20,
    renderWorldCopies: false,
    locale: {
      'Map.Title': t('map.label'),
      'NavigationControl.ZoomIn': t('map.zoom_in'),
      'NavigationControl.ZoomOut': t('map.zoom_out'),
      'NavigationControl.ResetBearing': t('map.north'),
      'ScaleControl.Meters': t('unit.m'),
      'ScaleControl.Kilometers': t('unit.km'),
    },
  });
  map.setPadding(padding);
  // The compass is there only while it has something to say.
  map.on('move', () => container.classList.toggle('turned', map.getBearing() !== 0 || map.getPitch() !== 0));
  map.setMissingStyleImageResolver(id => {
    if (id === 'shield') map.addImage(id, shield(), SHIELD);
  });
  if (camera) map.jumpTo({center: camera.centre, zoom: camera.zoom, bearing: camera.bearing, pitch: camera.pitch});
  else fitCity(map, bounds, 0);
  map.addControl(new ScaleControl({unit: 'metric', maxWidth: 100}), 'bottom-left');
  map.addControl(new NavigationControl({visualizePitch: true}), 'bottom-left');
  map.addControl(buttonControl('home', t('map.home'), () => fitCity(map, bounds)), 'bottom-left');
  map.addControl(buttonControl('clock', t('time.open'), openTime), 'bottom-left');
  announceReady(map);
  return map;
}

/**
 * Show the whole city.
 * @param {MapLibre} map
 * @param {import('./api.js').Box} bounds
 * @param {number} [duration_ms]
 */
export function fitCity(map, bounds, duration_ms = 600) {
  map.fitBounds(bounds, {padding: 8, bearing: 0, pitch: 0, duration: calm ? 0 : duration_ms});
}

/**
 * @param {MapLibre} map
 * @returns {Camera}
 */
export function cameraOf(map) {
  const {lng, lat} = map.getCenter();
  return {zoom: map.getZoom(), centre: [lng, lat], bearing: map.getBearing(), pitch: map.getPitch()};
}

/**
 * The box that is on the screen, in degrees: west, south, east, north.
 * @param {MapLibre} map
 * @returns {[number, number, number, number]}
 */
export function boxOf(map) {
  const box = map.getBounds();
  return [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()];
}

/** @returns {any} */
function bareGround() {
  return {version: 8, sources: {}, layers: [{id: 'background', type: 'background', paint: {'background-color': token('ground')}}]};
}

/**
 * @param {string} picture
 * @param {string} label
 * @param {() => void} action
 * @returns {import('maplibre-gl').IControl}
 */
function buttonControl(picture, label, action) {
  const group = document.createElement('div');
  group.className = 'maplibregl-ctrl maplibregl-ctrl-group';
  group.append(iconButton(picture, label, action));
  return {onAdd: () => group, onRemove: () => group.remove()};
}

// The plate behind road numbers: its middle stretches with the number.
/** @type {Partial<import('maplibre-gl').StyleImageMetadata>} */
const SHIELD = {pixelRatio: 2, stretchX: [[10, 22]], stretchY: [[10, 22]], content: [6, 6, 26, 26]};

function shield() {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 32;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  pen.fillStyle = token('panel');
  pen.strokeStyle = token('border');
  pen.lineWidth = 2;
  pen.beginPath();
  pen.roundRect(2, 2, 28, 28, 6);
  pen.fill();
  pen.stroke();
  return pen.getImageData(0, 0, 32, 32);
}

/**
 * Keep `window.ready` true exactly while nothing is loading, moving or waiting to be drawn.
 * @param {MapLibre} map
 */
function announceReady(map) {
  let idle = false;
  map.on('idle', () => (idle = true));
  map.on('dataloading', () => (idle = false));
  map.on('movestart', () => (idle = false));
  Object.defineProperty(window, 'ready', {configurable: true, get: () => idle && inflight() === 0});
}
