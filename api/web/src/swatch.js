// @ts-check
// The sign of a layer as it looks on the map: a dot, a line or an area in its colour.
import {h} from './dom.js';

/**
 * @param {string | undefined} colour
 * @param {'circle' | 'line' | 'fill'} shape
 */
export function swatch(colour, shape) {
  const sign = h('span', {class: `swatch ${shape}`, 'aria-hidden': 'true'});
  if (colour) sign.style.setProperty('--colour', colour);
  return sign;
}

/**
 * The sign of a dataset: its first legend entry.
 * @param {import('./api.js').Collection} collection
 */
export function signOf({twin: {style}}) {
  const [first] = style.legend;
  return swatch(first?.colour, first?.shape ?? 'circle');
}
