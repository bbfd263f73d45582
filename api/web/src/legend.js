// @ts-check
// What is on the map: for each layer its signs, unit, source, age and state in words, with what can be done about it.
import {advice, h, iconButton} from './dom.js';
import {colourField} from './fields.js';
import * as format from './format.js';
import {pick, t} from './i18n.js';
import {signOf, swatch} from './swatch.js';

/** @typedef {import('./api.js').Collection} Collection */
/** @typedef {import('./layers.js').Status} Status */
/** @typedef {import('./cells.js').Choropleth} Choropleth */
/**
 * @typedef {object} Actions
 * @property {(id: string) => void} hide
 * @property {(id: string) => void} list
 * @property {(id: string) => void} retry
 * @property {(zoom: number) => void} zoomTo
 * @property {() => void} hideIndicator
 * @property {() => void} retryIndicator
 */

/**
 * Write the legend anew.
 * @param {HTMLElement} place
 * @param {{collection: Collection, status: Status}[]} layers topmost first
 * @param {Choropleth | null} choropleth
 * @param {Collection[]} collections
 * @param {Actions} actions
 * @param {boolean} open whether it starts unfolded; folded it still names every layer with its sign
 */
export function showLegend(place, layers, choropleth, collections, actions, open) {
  const entries = layers.map(layer => layerEntry(layer.collection, layer.status, actions));
  const brief = layers.map(({collection, status}) => h('li', {'data-status': status}, signOf(collection), pick(collection.twin.title)));
  if (choropleth?.indicator) {
    entries.unshift(indicatorEntry(choropleth, collections, actions));
    brief.unshift(ramp(choropleth));
  }
  const body = entries.length ? entries : [h('p', {class: 'quiet'}, t('legend.nothing'))];
  const focused = place.contains(document.activeElement) ? document.activeElement?.getAttribute('data-key') : null;
  const before = place.querySelector('details');
  place.replaceChildren(h('details', {open: before ? before.open : open},
    h('summary', {'data-key': 'fold'}, h('h2', {}, t('legend.title')), h('ul', {class: 'brief'}, ...brief)),
    h('div', {class: 'entries', tabindex: '0', role: 'group', 'aria-label': t('legend.title')}, ...body)));
  place.hidden = false;
  // Rewriting must not take the focus from a reader who is in the legend.
  if (focused) /** @type {HTMLElement | null} */ (place.querySelector(`[data-key="${focused}"]`))?.focus();
}

/**
 * @param {Collection} collection
 * @param {Status} status
 * @param {Actions} actions
 */
function layerEntry(collection, status, actions) {
  const {id, twin} = collection;
  const title = pick(twin.title);
  const styled = colourField(collection);
  const signs = twin.style.legend;
  return h('section', {class: 'entry', 'data-layer': id, 'data-status': status},
    h('header', {},
      signs.length === 1 && signOf(collection),
      h('h3', {}, title),
      iconButton('table', t('legend.list', {title}), () => actions.list(id), {'data-key': `list ${id}`}),
      iconButton('hide', t('legend.hide', {title}), () => actions.hide(id), {'data-key': `hide ${id}`})),
    styled && h('p', {class: 'quiet'}, pick(styled.title), format.unitText(styled.unit) && ` (${format.unitText(styled.unit)})`),
    signs.length > 1 && h('ul', {class: 'signs'}, ...signs.map(({colour, shape, label}) => h('li', {}, swatch(colour, shape), pick(label)))),
    layerState(collection, status, actions),
    source(twin.owner, twin.updated_at));
}

/**
 * @param {Collection} collection
 * @param {Status} status
 * @param {Actions} actions
 */
function layerState({id, twin}, status, actions) {
  const minzoom = twin.style.minzoom ?? 0;
  if (status === 'loading') return h('p', {class: 'quiet busy'}, t('state.loading'));
  if (status === 'empty') return h('p', {class: 'advice'}, t('state.empty'));
  if (status === 'far') return advice(t('state.far'), t('state.closer'), () => actions.zoomTo(minzoom));
  if (status === 'error') return advice(t('state.error'), t('retry'), () => actions.retry(id));
  return null;
}

/**
 * @param {Choropleth} choropleth
 * @param {Collection[]} collections
 * @param {Actions} actions
 */
function indicatorEntry({indicator, status, cells, fault}, collections, actions) {
  const {id, title, unit, dataset, window} = /** @type {import('./api.js').Indicator} */ (indicator);
  const from = collections.find(collection => collection.id === dataset);
  const sign = format.unitText(unit);
  const facts = [sign && t('legend.unit', {unit: sign}), window && t('legend.window', {window: format.duration(window)}), cells && t('legend.cells', {n: format.count(cells.count), resolution: cells.resolution})];
  return h('section', {class: 'entry', 'data-indicator': id, 'data-status': status},
    h('header', {},
      h('h3', {}, pick(title)),
      iconButton('hide', t('legend.hide', {title: pick(title)}), actions.hideIndicator, {'data-key': 'hide indicator'})),
    h('p', {class: 'quiet'}, facts.filter(Boolean).join(' · ')),
    cells && h('ul', {class: 'signs classes'}, ...cells.legend.map(({colour, label}) => h('li', {}, swatch(colour, 'fill'), pick(label)))),
    status === 'loading' && h('p', {class: 'quiet busy'}, t('state.loading')),
    status === 'empty' && h('p', {class: 'advice'}, t('state.no_cells')),
    status === 'error' && advice(fault, t('retry'), actions.retryIndicator),
    source(from?.twin.owner, cells?.datetime ?? from?.twin.updated_at ?? null));
}

/**
 * An indicator in one line: its colours between the ends of its scale.
 * @param {Choropleth} choropleth
 */
function ramp({indicator, cells}) {
  const {title, unit} = /** @type {import('./api.js').Indicator} */ (indicator);
  const classes = cells?.legend ?? [];
  const ends = classes.length ? [pick(classes[0].label), `${pick(classes[classes.length - 1].label)} ${format.unitText(unit)}`] : ['', ''];
  return h('li', {class: 'ramp'}, h('span', {}, pick(title)), h('span', {}, ends[0], ...classes.map(({colour}) => swatch(colour, 'fill')), ends[1]));
}

/**
 * Who says so, and how old it is.
 * @param {string | undefined} owner
 * @param {string | null} moment
 */
function source(owner, moment) {
  const age = moment ? h('time', {datetime: moment, title: format.time(moment)}, format.ago(moment)) : t('legend.no_data_yet');
  return h('p', {class: 'source'}, owner && `${owner} · `, age);
}
