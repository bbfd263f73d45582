// @ts-check
// What is under the pointer: its outline, its name beside it, and a hand.
import {h} from './dom.js';

/** @typedef {import('./layers.js').Hit} Hit */

/**
 * @param {import('maplibre-gl').Map} map
 * @param {import('./layers.js').DataLayers} layers
 * @param {(hit: Hit) => string} nameOf
 */
export function followPointer(map, layers, nameOf) {
  const tip = h('div', {class: 'tip', 'aria-hidden': 'true', hidden: true});
  map.getContainer().append(tip);
  let waiting = false;
  map.on('mousemove', event => {
    if (waiting || map.isMoving()) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const [hit] = layers.at(event.point);
      map.getCanvas().style.cursor = hit ? 'pointer' : '';
      layers.hover(hit ?? null);
      tip.hidden = !hit;
      if (!hit) return;
      tip.textContent = nameOf(hit);
      tip.style.transform = `translate(${Math.round(event.point.x + 14)}px, ${Math.round(event.point.y + 14)}px)`;
    });
  });
  const leave = () => {
    layers.hover(null);
    tip.hidden = true;
  };
  map.on('mouseout', leave);
  map.on('movestart', leave);
}
