// @ts-check
// The records in view as a table: the same data as the map, for those who cannot or do not want to use one.
import * as api from './api.js';
import {advice, h, iconButton} from './dom.js';
import {nameField, titleOf} from './fields.js';
import * as format from './format.js';
import {pick, t} from './i18n.js';

/** @typedef {import('./api.js').Collection} Collection */
/** @typedef {import('./api.js').Item} Item */

const PAGE = 50;
const COLUMNS = 6;

export class RecordTable {
  /** @type {Collection | null} */
  #collection = null;
  /** @type {Item[]} */
  #items = [];
  /** @type {string | null} */
  #next = null;
  /** Box whose records are shown. */
  #box = '';
  #said = h('p');
  #body = h('div');
  #request = new AbortController();
  /** @type {Date | null} */
  #moment = null;

  /**
   * @param {HTMLElement} place
   * @param {() => number[]} box that is on the screen
   * @param {(dataset: string, id: string) => void} open a record
   * @param {() => void} close
   */
  constructor(place, box, open, close) {
    this.place = place;
    this.box = box;
    this.open = open;
    this.close = close;
  }

  /**
   * List the records of this dataset, or none, as they were at a moment.
   * @param {Collection | null} collection
   * @param {Date | null} moment null: now
   */
  set(collection, moment) {
    const isLater = moment?.getTime() !== this.#moment?.getTime();
    this.#moment = moment;
    if (collection?.id === this.#collection?.id) {
      if (collection && isLater) this.#again();
      return;
    }
    this.#collection = collection;
    this.#box = '';
    this.place.hidden = !collection;
    if (!collection) return this.#request.abort();
    const title = t('list.title', {title: pick(collection.twin.title)});
    // The head stays while records come and go, and with it the focus.
    this.#said = h('p', {class: 'quiet', role: 'status'});
    this.#body = h('div', {class: 'body', tabindex: '0', role: 'group', 'aria-label': title}, h('p', {class: 'quiet busy'}, t('state.loading')));
    const head = h('header', {}, h('h2', {tabindex: '-1'}, title), this.#said, iconButton('close', `${t('close')} (Esc)`, this.close));
    this.place.replaceChildren(head, this.#body);
    this.refresh();
  }

  #again() {
    this.#box = '';
    this.refresh();
  }

  /** The view moved: list what is in it now. */
  async refresh() {
    const collection = this.#collection;
    const box = this.box();
    if (!collection || this.#box === box.join()) return;
    this.#request.abort();
    this.#request = new AbortController();
    this.#box = box.join();
    const {signal} = this.#request;
    await this.#ask(() => api.items(collection.id, box, this.#moment, PAGE, signal), []);
  }

  async #more() {
    const next = this.#next;
    const shown = this.#items;
    if (!next) return;
    await this.#ask(() => api.nextItems(next), shown);
    /** @type {HTMLElement | undefined} */ (this.#body.querySelectorAll('tbody button')[shown.length])?.focus();
  }

  /**
   * Show what is there already and what the server answers, or what went wrong.
   * @param {() => Promise<import('./api.js').Items>} question
   * @param {Item[]} before
   */
  async #ask(question, before) {
    const collection = this.#collection;
    try {
      const page = await question();
      if (collection && collection === this.#collection) this.#take(collection, page, before);
    } catch (error) {
      if (!(error instanceof api.ApiError)) return; // another request took its place
      this.#box = '';
      this.#said.textContent = '';
      this.#body.replaceChildren(advice(error.message, t('retry'), () => this.refresh()));
    }
  }

  /**
   * @param {Collection} collection
   * @param {import('./api.js').Items} page
   * @param {Item[]} before
   */
  #take(collection, page, before) {
    this.#items = [...before, ...page.features];
    this.#next = page.links?.find(link => link.rel === 'next')?.href ?? null;
    this.#said.textContent = t(this.#next ? 'list.first' : 'list.all', {n: format.count(this.#items.length)});
    const table = this.#items.length ? this.#table(collection) : h('p', {class: 'advice'}, t('state.empty'));
    const more = this.#next ? [h('button', {type: 'button', class: 'verb', onclick: () => this.#more()}, t('list.more'))] : [];
    this.#body.replaceChildren(table, ...more);
  }

  /** @param {Collection} collection */
  #table(collection) {
    const name = nameField(collection);
    const fields = Object.entries(collection.twin.fields).filter(([field]) => field !== name && field !== `${name}_en`).slice(0, COLUMNS - 1);
    /** @param {Item} item */
    const row = item => h('tr', {},
      h('th', {scope: 'row'}, h('button', {type: 'button', class: 'link', onclick: () => this.open(collection.id, String(item.id))}, titleOf(collection, item))),
      ...fields.map(([key, field]) => h('td', {}, format.fieldText(item.properties[key], field) ?? '—')));
    return h('table', {},
      h('caption', {class: 'visually-hidden'}, t('list.title', {title: pick(collection.twin.title)})),
      h('thead', {}, h('tr', {}, h('th', {scope: 'col'}, t('list.name')), ...fields.map(([, field]) => h('th', {scope: 'col'}, pick(field.title))))),
      h('tbody', {}, ...this.#items.map(row)));
  }
}
