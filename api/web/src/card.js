// @ts-check
// The record card: all fields as the catalogue names them, where the place comes from, when it holds, who says so.
import * as api from './api.js';
import {advice, h, iconButton} from './dom.js';
import {titleOf} from './fields.js';
import * as format from './format.js';
import {has, pick, t} from './i18n.js';
import {signOf} from './swatch.js';

/** @typedef {import('./api.js').Collection} Collection */
/** @typedef {import('./api.js').Item} Item */
/** @typedef {string | [string, string] | null} Fact a value, a value with a remark below it, or none */

/** Properties that are not fields of the contract. */
const COMMON = new Set(['id', 'place_method', 'place_accuracy_m', 'place_source', 'valid', 'recorded', 'observed_at']);

/**
 * @typedef {object} CardActions
 * @property {() => void} close
 * @property {(item: Item) => void} goTo
 * @property {() => void} retry
 * @property {(step: number) => void} turn to another record at the same place
 */

/**
 * The frame of a card: its title row and what stands in it.
 * @param {HTMLElement} place
 * @param {{sign?: HTMLElement, kicker: string, title: string, buttons?: HTMLElement[], close: () => void}} head
 * @param {...(Node | null | false)} body
 */
export function showCard(place, {sign, kicker, title, buttons = [], close}, ...body) {
  place.replaceChildren(
    h('header', {},
      h('div', {class: 'heading'}, h('p', {class: 'quiet'}, sign, kicker), h('h2', {tabindex: '-1'}, title)),
      ...buttons,
      iconButton('close', `${t('close')} (Esc)`, close)),
    h('div', {class: 'body', tabindex: '0', role: 'group', 'aria-label': title}, .../** @type {Node[]} */ (body.filter(Boolean))));
  place.hidden = false;
}

/**
 * The card of a record.
 * @param {HTMLElement} place
 * @param {Collection} collection
 * @param {Item} item
 * @param {{index: number, total: number}} among the records at the same place
 * @param {CardActions} actions
 */
export function showRecord(place, collection, item, among, actions) {
  const {twin} = collection;
  const buttons = [
    item.geometry && iconButton('target', t('card.go'), () => actions.goTo(item)),
    iconButton('link', t('card.copy'), () => copyLink(place)),
  ].filter(button => button !== null && button !== undefined);
  showCard(place, {sign: signOf(collection), kicker: pick(twin.title), title: titleOf(collection, item), buttons, close: actions.close},
    pager(among, actions.turn),
    fieldList(collection, item.properties),
    section('card.place', placeFacts(item.properties)),
    section('card.times', timeFacts(item.properties)),
    section('card.source', [
      [t('card.owner'), twin.owner],
      [t('card.dataset'), pick(twin.title)],
      [t('card.id'), String(item.id)],
    ]),
    h('p', {}, h('a', {href: new URL(api.itemPath(collection.id, String(item.id)), api.ROOT).href}, t('card.json'))),
    h('p', {class: 'copied', role: 'status'}));
}

/**
 * While the record is on its way, or when it cannot be had.
 * @param {HTMLElement} place
 * @param {Collection | undefined} collection
 * @param {string | null} fault null: still loading
 * @param {CardActions} actions
 */
export function showWaiting(place, collection, fault, actions) {
  const body = fault === null ? h('p', {class: 'quiet busy'}, t('state.loading')) : advice(fault, t('retry'), actions.retry);
  showCard(place, {sign: collection && signOf(collection), kicker: collection ? pick(collection.twin.title) : '', title: t('card.record'), close: actions.close}, body);
}

/**
 * The card of a cell of an indicator.
 * @param {HTMLElement} place
 * @param {import('./api.js').Indicator} indicator
 * @param {import('./cells.js').CellHit} cell
 * @param {() => void} close
 */
export function showCell(place, indicator, cell, close) {
  showCard(place, {kicker: t('cell.kicker'), title: pick(indicator.title), close},
    h('p', {class: 'figure'}, format.number(cell.value, indicator.unit)),
    facts([[t('cell.records'), format.number(cell.n)], [t('cell.id'), cell.cell]]));
}

/**
 * @param {{index: number, total: number}} among
 * @param {(step: number) => void} turn
 */
function pager({index, total}, turn) {
  if (total < 2) return null;
  return h('div', {class: 'pager'},
    iconButton('previous', t('card.previous'), () => turn(-1)),
    h('span', {}, t('card.among', {index: index + 1, total})),
    iconButton('next', t('card.next'), () => turn(1)));
}

/**
 * @param {Collection} collection
 * @param {Record<string, any>} properties
 */
function fieldList({twin}, properties) {
  const known = Object.entries(twin.fields).map(([name, field]) => /** @type {[string, string | null]} */ ([pick(field.title), format.fieldText(properties[name], field)]));
  const others = Object.entries(properties).filter(([name, value]) => !(name in twin.fields) && !COMMON.has(name) && value !== null && typeof value !== 'object');
  return facts([...known, ...others.map(([name, value]) => /** @type {[string, string]} */ ([name, String(value)]))]);
}

/**
 * @param {Record<string, any>} properties
 * @returns {[string, string | null][]}
 */
function placeFacts({place_method: method, place_accuracy_m: accuracy_m, place_source: from}) {
  return [
    [t('card.method'), method ? (has(`place.${method}`) ? t(`place.${method}`) : method) : null],
    [t('card.accuracy'), typeof accuracy_m === 'number' ? `± ${format.distance(accuracy_m)}` : null],
    [t('card.place_source'), from ? sourceText(from.replace(`${method}:`, '')) : null],
  ];
}

/**
 * What a place was taken from: the datum of its coordinates, or a register.
 * @param {string} name
 */
const sourceText = name => (has(`datum.${name}`) ? t(`datum.${name}`) : name);

/**
 * @param {Record<string, any>} properties
 * @returns {[string, Fact][]}
 */
function timeFacts({valid, recorded, observed_at: observed}) {
  /** @type {[string, Fact][]} */
  const times = [];
  if (observed) times.push([t('card.observed'), aged(observed)]);
  if (Array.isArray(valid)) times.push([t('card.valid'), span(valid)]);
  if (Array.isArray(recorded) && recorded[0]) times.push([t('card.recorded'), aged(recorded[0])]);
  return times;
}

/**
 * A time and how long ago it was.
 * @param {string} moment
 * @returns {[string, string]}
 */
const aged = moment => [format.time(moment), format.ago(moment)];

/**
 * @param {(string | null)[]} range open ends are null
 */
function span([from, until]) {
  if (!from && !until) return t('card.always');
  if (!until) return t('card.since', {from: format.time(/** @type {string} */ (from))});
  return t('card.from_to', {from: from ? format.time(from) : '…', until: format.time(until)});
}

/**
 * @param {string} title key
 * @param {[string, Fact][]} entries
 */
function section(title, entries) {
  return entries.length ? h('section', {}, h('h3', {}, t(title)), facts(entries)) : null;
}

/** @param {[string, Fact][]} entries */
function facts(entries) {
  return h('dl', {}, ...entries.map(([name, fact]) => h('div', {}, h('dt', {}, name), value(fact))));
}

/** @param {Fact} fact */
function value(fact) {
  if (fact === null) return h('dd', {class: 'none'}, t('card.none'));
  return Array.isArray(fact) ? h('dd', {}, fact[0], h('span', {}, fact[1])) : h('dd', {}, fact);
}

/** @param {HTMLElement} place */
async function copyLink(place) {
  const said = /** @type {HTMLElement} */ (place.querySelector('.copied'));
  try {
    await navigator.clipboard.writeText(location.href);
    said.textContent = t('card.copied');
  } catch {
    said.textContent = t('card.copy_by_hand'); // no permission, or not a secure page
  }
}
