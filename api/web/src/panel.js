// @ts-check
// The catalogue: all layers and all indicators, grouped by system, found by words.
import {advice, h, icon} from './dom.js';
import * as format from './format.js';
import {lang, pick, t} from './i18n.js';
import {signOf} from './swatch.js';

/** @typedef {import('./api.js').Collection} Collection */
/** @typedef {import('./api.js').Indicator} Indicator */
/** @typedef {import('./i18n.js').Title} Title */
/** @typedef {{row: HTMLElement, input: HTMLInputElement | null, words: string}} Row */
/** @typedef {{section: HTMLElement, button: HTMLElement, on: HTMLElement, count: HTMLElement, rows: Row[], words: string, open: boolean}} Group */

/** A list of rows in groups that open and close; one for layers, one for indicators. */
class Catalogue {
  /** @type {Group[]} */
  #groups = [];
  #searching = false;

  /**
   * @param {HTMLElement} place
   * @param {HTMLElement} tab whose count is kept
   * @param {string} title of the tab
   * @param {() => void} forget clears the search
   */
  constructor(place, tab, title, forget) {
    this.place = place;
    this.tab = tab;
    this.title = title;
    this.nothing = h('div', {hidden: true}, advice(t('search.nothing'), t('search.clear'), forget));
    place.replaceChildren(this.nothing);
  }

  /**
   * @param {string} id
   * @param {Title} title
   * @param {Row[]} rows
   */
  add(id, title, rows) {
    const on = h('span', {class: 'on'});
    const count = h('span', {class: 'count'});
    const list = h('ul', {id: `${this.place.id}-${id}`}, ...rows.map(row => row.row));
    const button = h('button', {type: 'button', 'aria-expanded': 'false', 'aria-controls': list.id, onclick: () => this.#toggle(group)},
      icon('chevron'), h('span', {class: 'name'}, pick(title)), on, count);
    const section = h('section', {class: 'group'}, h('h2', {}, button), list);
    const group = {section, button, on, count, rows, words: wordsOf(title, id), open: false};
    this.#groups.push(group);
    this.place.append(section);
  }

  /**
   * Show which rows are on; their groups open.
   * @param {Set<string>} ids
   * @param {boolean} open whether the groups of these rows open
   */
  check(ids, open) {
    for (const group of this.#groups) {
      let on = 0;
      for (const {input} of group.rows) {
        if (!input) continue;
        input.checked = ids.has(input.value);
        on += Number(input.checked);
      }
      group.on.textContent = on ? t('group.on', {n: on}) : '';
      if (on && open) group.open = true;
    }
    this.#show();
  }

  /**
   * Keep only rows that have all words, in their own texts or their group's. Returns how many.
   * @param {string[]} words
   */
  filter(words) {
    this.#searching = words.length > 0;
    let found = 0;
    for (const group of this.#groups) {
      let inGroup = 0;
      for (const row of group.rows) {
        const fits = words.every(word => row.words.includes(word) || group.words.includes(word));
        row.row.hidden = !fits;
        inGroup += Number(fits);
      }
      group.section.hidden = inGroup === 0;
      group.count.textContent = String(inGroup);
      found += inGroup;
    }
    this.nothing.hidden = found > 0;
    this.tab.replaceChildren(this.title, h('span', {class: 'count'}, String(found)));
    this.#show();
    return found;
  }

  /** @param {Group} group */
  #toggle(group) {
    group.open = group.button.getAttribute('aria-expanded') !== 'true';
    this.#show(group);
  }

  /** @param {Group} [touched] the one whose state the reader chose, even while searching */
  #show(touched) {
    for (const group of this.#groups) {
      const open = group === touched ? group.open : group.open || this.#searching;
      group.button.setAttribute('aria-expanded', String(open));
    }
  }
}

/**
 * Build both catalogues.
 * @param {object} options
 * @param {Collection[]} options.collections
 * @param {Indicator[]} options.indicators
 * @param {Record<'layers' | 'indicators' | 'tabLayers' | 'tabIndicators' | 'found', HTMLElement>} options.places
 * @param {HTMLInputElement} options.search
 * @param {(id: string, on: boolean) => void} options.toggleLayer
 * @param {(id: string | null) => void} options.chooseIndicator
 */
export function buildPanel({collections, indicators, places, search, toggleLayer, chooseIndicator}) {
  const forget = () => {
    search.value = '';
    find();
    search.focus();
  };
  const layers = new Catalogue(places.layers, places.tabLayers, t('tabs.layers'), forget);
  const cells = new Catalogue(places.indicators, places.tabIndicators, t('tabs.indicators'), forget);
  const systems = new Map(collections.map(({twin}) => [twin.system, twin.system_title]));
  const titleFor = (/** @type {string} */ system) => systems.get(system) ?? {zh: system, en: system};
  const common = new Set(collections.filter(({twin}) => twin.style.default).map(({twin}) => twin.system));
  // What is on at first leads, the rest goes by name.
  const order = (/** @type {string} */ a, /** @type {string} */ b) =>
    Number(common.has(b)) - Number(common.has(a)) || pick(titleFor(a)).localeCompare(pick(titleFor(b)), lang);
  for (const [system, members] of grouped(collections, collection => collection.twin.system, order)) {
    layers.add(system, titleFor(system), members.map(member => layerRow(member, toggleLayer)));
  }
  cells.place.append(radio('', t('indicator.none'), '', chooseIndicator).row);
  for (const [system, members] of grouped(indicators, indicator => indicator.system, order)) {
    cells.add(system, titleFor(system), members.map(member => indicatorRow(member, chooseIndicator)));
  }
  const find = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = {layers: layers.filter(words), indicators: cells.filter(words)};
    places.found.textContent = words.length ? t('search.found', found) : '';
  };
  search.addEventListener('input', find);
  find();
  return {
    /**
     * @param {string[]} ids of the layers that are on
     * @param {string | null} indicator
     * @param {boolean} open whether their groups open
     */
    show(ids, indicator, open) {
      layers.check(new Set(ids), open);
      cells.check(new Set(indicator ? [indicator] : []), open);
      const none = /** @type {HTMLInputElement} */ (cells.place.querySelector('input[value=""]'));
      none.checked = !indicator;
    },
  };
}

/**
 * @param {Collection} collection
 * @param {(id: string, on: boolean) => void} toggle
 * @returns {Row}
 */
function layerRow(collection, toggle) {
  const {id, twin} = collection;
  const words = wordsOf(twin.title, id, twin.owner);
  if (twin.style.layers.length === 0) {
    return {row: h('li', {class: 'row undrawn'}, h('span', {class: 'name'}, pick(twin.title)), h('span', {class: 'count'}, t('layer.undrawn'))), input: null, words};
  }
  const input = /** @type {HTMLInputElement} */ (h('input', {type: 'checkbox', value: id}));
  input.addEventListener('change', () => toggle(id, input.checked));
  const amount = twin.count === null ? '' : format.count(twin.count);
  const row = h('li', {class: 'row'}, h('label', {}, input, signOf(collection), h('span', {class: 'name'}, pick(twin.title)), h('span', {class: 'count'}, amount)));
  return {row, input, words};
}

/**
 * @param {Indicator} indicator
 * @param {(id: string | null) => void} choose
 * @returns {Row}
 */
function indicatorRow({id, title, unit, dataset}, choose) {
  const {row, input} = radio(id, pick(title), format.unitText(unit), choose);
  return {row: h('li', {}, row), input, words: wordsOf(title, id, dataset)};
}

/**
 * @param {string} value
 * @param {string} name
 * @param {string} note
 * @param {(id: string | null) => void} choose
 */
function radio(value, name, note, choose) {
  const input = /** @type {HTMLInputElement} */ (h('input', {type: 'radio', name: 'indicator', value}));
  input.addEventListener('change', () => choose(value || null));
  const row = h('div', {class: 'row'}, h('label', {}, input, h('span', {class: 'name'}, name), h('span', {class: 'count'}, note)));
  return {row, input};
}

/**
 * @template T
 * @param {T[]} members
 * @param {(member: T) => string} key
 * @param {(a: string, b: string) => number} order of the keys
 * @returns {[string, T[]][]}
 */
function grouped(members, key, order) {
  /** @type {Map<string, T[]>} */
  const groups = new Map();
  for (const member of members) groups.set(key(member), [...(groups.get(key(member)) ?? []), member]);
  return [...groups].sort(([a], [b]) => order(a, b));
}

/**
 * All that a search may find something by.
 * @param {Title} title
 * @param {...string} more
 */
const wordsOf = (title, ...more) => [title.zh, title.en, ...more].join(' ').toLowerCase();

/**
 * Tabs as in the ARIA practices: arrows move, one is in the tab order.
 * @param {HTMLElement[]} tabs
 */
export function wireTabs(tabs) {
  /** @param {HTMLElement} chosen */
  const select = chosen => {
    for (const tab of tabs) {
      const on = tab === chosen;
      tab.setAttribute('aria-selected', String(on));
      tab.tabIndex = on ? 0 : -1;
      /** @type {HTMLElement} */ (document.getElementById(/** @type {string} */ (tab.getAttribute('aria-controls')))).hidden = !on;
    }
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener('click', () => select(tab));
    tab.addEventListener('keydown', event => {
      const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
      if (!step) return;
      const next = tabs[(index + step + tabs.length) % tabs.length];
      select(next);
      next.focus();
      event.preventDefault();
    });
  });
  return select;
}
