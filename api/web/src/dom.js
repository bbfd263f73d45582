// @ts-check
// Small helpers for the DOM: everything on the page is made of elements, never of HTML text.

/**
 * Make an element. Attributes that start with `on` are listeners; `class` and the others are set as they are;
 * false and null leave one out.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(.../** @type {(Node | string)[]} */ (children.filter(child => child !== null && child !== undefined && child !== false)));
  return element;
}

/**
 * The element with this id; the page always has it.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * A picture of the page's sprite.
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button that shows a picture and says its name to a screen reader and in its tooltip.
 * @param {string} name of the picture
 * @param {string} label
 * @param {() => void} onclick
 * @param {Record<string, any>} [attributes]
 */
export function iconButton(name, label, onclick, attributes = {}) {
  return h('button', {type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...attributes}, icon(name));
}

/**
 * A text with what to do about it, and a button that does it.
 * @param {string} text
 * @param {string} [verb] of the button
 * @param {() => void} [action]
 */
export function advice(text, verb, action) {
  return h('p', {class: 'advice'}, h('span', {}, text), verb && h('button', {type: 'button', class: 'verb', onclick: action}, verb));
}

/**
 * The value of a design token.
 * @param {string} name
 */
export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * Run `action` once things have been quiet for `pause_ms`.
 * @param {() => void} action
 * @param {number} pause_ms
 */
export function calmly(action, pause_ms) {
  /** @type {number | undefined} */
  let timer;
  return () => {
    clearTimeout(timer);
    timer = window.setTimeout(action, pause_ms);
  };
}
