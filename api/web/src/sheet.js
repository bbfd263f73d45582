// @ts-check
// On a phone the panels are a sheet at the foot with three stops: peek, half, full. The handle is dragged, clicked or moved by arrow keys.
import {byId} from './dom.js';
import {t} from './i18n.js';

const STOPS = /** @type {const} */ (['peek', 'half', 'full']);
/** @typedef {typeof STOPS[number]} Stop */

const CLICK_PX = 6;

/**
 * Move the sheet to a stop. Nothing to see on a desktop, where panels stand still.
 * @param {Stop} stop
 */
export function setStop(stop) {
  document.body.dataset.stop = stop;
  const handle = byId('handle');
  const label = t(`sheet.${stop}`);
  handle.setAttribute('aria-label', label);
  handle.title = label;
  handle.setAttribute('aria-expanded', String(stop !== 'peek'));
}

/** At least half open: something was opened in it. */
export function raise() {
  if (stopNow() === 'peek') setStop('half');
}

function stopNow() {
  return /** @type {Stop} */ (document.body.dataset.stop);
}

/** @param {number} step */
function move(step) {
  const at = STOPS.indexOf(stopNow()) + step;
  setStop(STOPS[Math.min(Math.max(at, 0), STOPS.length - 1)]);
}

export function wireSheet() {
  const handle = byId('handle');
  setStop('peek');
  handle.addEventListener('keydown', event => {
    if (event.key === 'ArrowUp') move(1);
    else if (event.key === 'ArrowDown') move(-1);
    else return;
    event.preventDefault();
  });
  handle.addEventListener('click', event => {
    if (event.detail === 0 || !dragged) setStop(stopNow() === 'peek' ? 'half' : stopNow() === 'half' ? 'full' : 'peek');
  });
  let dragged = false;
  handle.addEventListener('pointerdown', start => {
    dragged = false;
    handle.setPointerCapture(start.pointerId);
    /** @param {PointerEvent} event */
    const follow = event => {
      if (Math.abs(event.clientY - start.clientY) < CLICK_PX) return;
      dragged = true;
      document.body.style.setProperty('--sheet-height', `${innerHeight - event.clientY}px`);
      document.body.dataset.dragging = '';
    };
    /** @param {PointerEvent} event */
    const drop = event => {
      handle.removeEventListener('pointermove', follow);
      document.body.style.removeProperty('--sheet-height');
      delete document.body.dataset.dragging;
      if (dragged) setStop(nearest((innerHeight - event.clientY) / innerHeight));
    };
    handle.addEventListener('pointermove', follow);
    handle.addEventListener('pointerup', drop, {once: true});
    handle.addEventListener('pointercancel', drop, {once: true});
  });
}

/**
 * The stop for a sheet that covers this share of the screen.
 * @param {number} share
 * @returns {Stop}
 */
function nearest(share) {
  return share < 0.28 ? 'peek' : share < 0.68 ? 'half' : 'full';
}
