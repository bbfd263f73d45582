// @ts-check
// Which fields a dataset's style reads: what it is coloured by and what its records are called by.
import {lang} from './i18n.js';

/** @typedef {import('./api.js').Collection} Collection */

/**
 * The field a dataset is coloured by, where it is one the catalogue describes.
 * @param {Collection} collection
 */
export function colourField({twin}) {
  const colours = twin.style.layers.flatMap(layer => Object.entries(layer.paint ?? {})).filter(([name]) => name.endsWith('-color'));
  const name = colours.map(([, value]) => fieldIn(value)).find(field => field && twin.fields[field]);
  return name ? twin.fields[name] : null;
}

/**
 * The field whose text names a record: the label of its style, else a name or title.
 * @param {Collection} collection
 * @returns {string | undefined}
 */
export function nameField({twin}) {
  const label = twin.style.layers.map(layer => fieldIn(layer.layout?.['text-field'])).find(field => field && twin.fields[field]);
  return label ?? Object.keys(twin.fields).find(field => /^(name|title)$/.test(field));
}

/**
 * What a record is called in the page's language; its id when it has no name.
 * @param {Collection} collection
 * @param {{id?: any, properties: Record<string, any>}} record
 */
export function titleOf(collection, {id, properties}) {
  const field = nameField(collection);
  const name = field && ((lang === 'en' && properties[`${field}_en`]) || properties[field]);
  return String(name || (id ?? properties.id));
}

/**
 * The first field an expression reads.
 * @param {any} expression
 * @returns {string | null}
 */
function fieldIn(expression) {
  if (!Array.isArray(expression)) return null;
  if (expression[0] === 'get') return expression[1];
  for (const part of expression) {
    const name = fieldIn(part);
    if (name) return name;
  }
  return null;
}
