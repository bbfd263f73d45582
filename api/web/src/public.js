// @ts-check
// The public map: reads the catalogue, keeps the state in the address, and brings map, panel, legend, card and table to that state.
import * as api from './api.js';
import {showCell, showRecord, showWaiting} from './card.js';
import {Choropleth} from './cells.js';
import {Clock} from './clock.js';
import {advice, byId, calmly} from './dom.js';
import {titleOf} from './fields.js';
import {setZone} from './format.js';
import {lang, pick, t, translatePage} from './i18n.js';
import {DataLayers} from './layers.js';
import {showLegend} from './legend.js';
import {RecordTable} from './list.js';
import {boxOf, calm, cameraOf, canDraw, createMap, fitCity} from './map.js';
import {buildPanel, wireTabs} from './panel.js';
import {followPointer} from './pointer.js';
import {goTo, isInView, mark, prepareSelection} from './selection.js';
import {raise, setStop, wireSheet} from './sheet.js';
import {heightOf} from './stack.js';
import {TimeBar} from './timebar.js';
import {readState, writeState} from './url.js';

/** @typedef {import('./api.js').Collection} Collection */
/** @typedef {import('./url.js').State} State */
/** @typedef {import('./layers.js').Hit} Hit */

const SETTLED_MS = 300;
const TICK_MS = 100;
const SHEET_HALF = 0.52; // as in phone.css
const OUTLINES = 'sharing.boundaries';
const desktop = matchMedia('(min-width: 900px)');

/** Set up what needs no data, then the rest; again when the reader says so. */
async function start() {
  say('start', t('state.loading'));
  try {
    const [landing, collections, indicators, basemap] = await Promise.all([
      api.landing(), api.collections(), api.indicators(), api.basemap().catch(() => null),
    ]);
    say('start', null);
    const page = new PublicMap(landing, collections, indicators);
    await page.open(basemap);
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    say('start', advice(`${t('error.start')} ${error.message}`, t('retry'), start));
  }
}

/**
 * Say something over the map, or take it back.
 * @param {string} topic
 * @param {Node | string | null} words
 */
function say(topic, words) {
  const place = byId('notices');
  place.querySelector(`[data-topic="${topic}"]`)?.remove();
  if (words === null) return;
  const notice = document.createElement('div');
  notice.dataset.topic = topic;
  notice.append(words);
  place.append(notice);
}

class PublicMap {
  /** @type {State} */
  state = readState(location.hash);
  /** @type {import('maplibre-gl').Map | null} null where the browser cannot draw */
  map = null;
  /** @type {DataLayers | null} */
  layers = null;
  /** @type {Choropleth | null} */
  choropleth = null;
  /** Records under the last click. @type {Hit[]} */
  hits = [];
  /** Record whose card is there or on its way. */
  opened = '';
  /** What had the focus when the card was opened. @type {Element | null} */
  opener = null;
  clock = new Clock(() => this.#followClock());
  /** Whether the reader has opened the time bar. Away from now it is always there. */
  isTimeOpen = false;

  /**
   * @param {api.Landing} landing
   * @param {Collection[]} collections
   * @param {api.Indicator[]} indicators
   */
  constructor(landing, collections, indicators) {
    this.city = landing.city;
    this.collections = new Map(collections.map(collection => [collection.id, collection]));
    const outlines = this.collections.get(OUTLINES);
    /** The whole city on the screen: its outline, or the frame it lies in where none is known. */
    this.home = outlines?.twin.count ? outlines.extent.spatial.bbox[0] : landing.city.bounds;
    this.indicators = new Map(indicators.map(indicator => [indicator.id, indicator]));
    this.defaults = collections.filter(({twin}) => twin.style.default && twin.style.layers.length).map(({id}) => id);
    setZone(landing.city.zone);
    this.#writeHead(landing);
    this.panel = buildPanel({
      collections,
      indicators,
      search: /** @type {HTMLInputElement} */ (byId('search')),
      places: {
        layers: byId('layers'), indicators: byId('indicators'), found: byId('found'),
        tabLayers: byId('tab-layers'), tabIndicators: byId('tab-indicators'),
      },
      toggleLayer: (id, on) => this.#toggle(id, on),
      chooseIndicator: id => this.#change({indicator: id}, true),
    });
    this.table = new RecordTable(byId('records'), () => (this.map ? boxOf(this.map) : this.home),
      (dataset, id) => this.#choose([{dataset, id, properties: {}}]), () => this.#change({records: null}, true));
    this.timeBar = new TimeBar(byId('time'), this.clock, () => this.#openTime(false));
  }

  /**
   * Make the map and show the state of the address.
   * @param {any} basemap style; null when it could not be had
   */
  async open(basemap) {
    if (canDraw()) await this.#makeMap(basemap);
    else say('drawing', advice(t('error.webgl')));
    addEventListener('popstate', () => this.#travel());
    addEventListener('keydown', event => event.key === 'Escape' && this.#escape());
    this.#warnOfUnknown();
    if (this.state.indicator) selectTab(byId('tab-indicators'));
    this.#setClock();
    this.#show(true);
    setInterval(() => this.clock.tick(/** @type {any} */ (window).ready !== false), TICK_MS);
  }

  /** @param {any} basemap */
  async #makeMap(basemap) {
    if (!basemap) say('basemap', advice(t('error.basemap'), t('retry'), () => location.reload()));
    const map = createMap({container: byId('map'), style: basemap, camera: this.state.camera, bounds: this.home, padding: roomForPanels(), openTime: () => this.#openTime(true)});
    this.map = map;
    await new Promise(resolve => map.once('style.load', resolve));
    prepareSelection(map);
    this.layers = new DataLayers(map, () => this.#showLegend());
    this.choropleth = new Choropleth(map, this.city.resolutions.coarsest, () => this.#showLegend());
    map.on('click', event => this.#pick(event.point));
    map.on('moveend', () => this.#change({camera: cameraOf(map)}, false));
    map.on('moveend', calmly(() => this.table.refresh(), SETTLED_MS));
    map.on('webglcontextlost', () => say('drawing', t('error.context')));
    map.on('webglcontextrestored', () => say('drawing', null));
    map.on('error', event => this.#basemapFailed(/** @type {any} */ (event).sourceId));
    followPointer(map, this.layers, hit => titleOf(/** @type {Collection} */ (this.collections.get(hit.dataset)), hit));
    desktop.addEventListener('change', () => map.setPadding(roomForPanels()));
  }

  /** @param {string | undefined} source */
  #basemapFailed(source) {
    const ours = source === undefined || source.startsWith('data:') || source === 'cells' || source === 'selection';
    if (!ours) say('basemap', advice(t('error.basemap'), t('retry'), () => location.reload()));
  }

  /** @param {api.Landing} landing */
  #writeHead({city, synthetic}) {
    const name = t('title', {city: pick(city.title)});
    byId('title').textContent = name;
    document.title = `${name} · ${t('page')}`;
    byId('synthetic').hidden = !synthetic;
    byId('approval').textContent = city.map_approval_no ? t('approval', {number: city.map_approval_no}) : t('approval.none');
  }

  /** Datasets that are on, in the order they were switched on; those the reader may not see are left out. */
  #shownLayers() {
    const ids = this.state.layers ?? this.defaults;
    return ids.flatMap(id => this.collections.get(id) ?? []);
  }

  /** A link may name what does not exist, or not for this reader: say so. */
  #warnOfUnknown() {
    const {layers, indicator, feature, records} = this.state;
    const datasets = [...(layers ?? []), feature?.dataset, records].filter(id => id && !this.collections.has(id));
    const unknown = [...datasets, indicator && !this.indicators.has(indicator) && indicator].filter(Boolean);
    say('unknown', unknown.length ? t('error.unknown', {names: [...new Set(unknown)].join(', ')}) : null);
  }

  /**
   * @param {string} id
   * @param {boolean} on
   */
  #toggle(id, on) {
    const ids = this.#shownLayers().map(collection => collection.id);
    this.#change({layers: on ? [...ids, id] : ids.filter(other => other !== id)}, true);
  }

  /**
   * Change the state, its address and what is shown.
   * @param {Partial<State>} changes
   * @param {boolean} isStep whether the browser's back button leads here
   */
  #change(changes, isStep) {
    this.state = {...this.state, ...changes};
    const address = location.search + writeState(this.state);
    if (isStep) history.pushState(null, '', address);
    else history.replaceState(null, '', address);
    this.#linkLanguage();
    if (isStep) this.#show(false);
  }

  /** Back, forward, or an address edited by hand. */
  #travel() {
    this.state = readState(location.hash);
    const {camera} = this.state;
    if (camera) this.map?.jumpTo({center: camera.centre, zoom: camera.zoom, bearing: camera.bearing, pitch: camera.pitch});
    else if (this.map) fitCity(this.map, this.home, 0);
    this.#warnOfUnknown();
    this.#setClock();
    this.#show(true);
  }

  /** Set the clock to what the address says. */
  #setClock() {
    const {at, speed} = this.state;
    if (speed) this.clock.speed = speed;
    this.clock.moment = at;
    if (speed && at) this.clock.run();
    else this.clock.show(at);
  }

  /** The clock has moved, and all that is shown with it. */
  #followClock() {
    const {moment, runs, speed} = this.clock;
    const isStep = this.state.at?.getTime() !== moment?.getTime() && !runs && this.state.speed === null;
    this.#change({at: moment, speed: runs ? speed : null}, isStep);
    if (!isStep) this.#show(false);
  }

  /** @param {boolean} isOpen */
  #openTime(isOpen) {
    this.isTimeOpen = isOpen;
    if (!isOpen) this.clock.show(null);
    this.#showTime();
    const first = isOpen ? byId('time').querySelector('button') : this.map?.getCanvas();
    first?.focus();
  }

  #showTime() {
    const isOpen = this.isTimeOpen || this.clock.moment !== null;
    byId('time').hidden = !isOpen;
    document.body.classList.toggle('with-time', isOpen);
    if (isOpen) this.timeBar.show();
  }

  #linkLanguage() {
    const link = /** @type {HTMLAnchorElement} */ (byId('language'));
    const other = lang === 'zh' ? 'en' : 'zh';
    link.href = `?lang=${other}${location.hash}`;
    link.hreflang = link.lang = other;
    link.textContent = t('language');
  }

  /** @param {boolean} openGroups whether the panel opens the groups of what is on */
  #show(openGroups) {
    const shown = this.#shownLayers();
    const indicator = this.indicators.get(this.state.indicator ?? '') ?? null;
    this.layers?.set(shown, this.clock.moment);
    this.choropleth?.set(indicator, this.clock.moment);
    this.#showTime();
    this.panel.show(shown.map(collection => collection.id), indicator?.id ?? null, openGroups);
    this.#linkLanguage();
    this.#showLegend();
    this.#showTable();
    this.#showCard();
  }

  #showLegend() {
    const topmostFirst = this.#shownLayers().reverse().sort((a, b) => heightOf(b.twin.style.layers) - heightOf(a.twin.style.layers));
    const entries = topmostFirst.map(collection => ({collection, status: this.layers?.status(collection.id) ?? 'shown'}));
    showLegend(byId('legend'), entries, this.choropleth, [...this.collections.values()], {
      hide: id => this.#toggle(id, false),
      list: id => this.#change({records: id}, true),
      retry: id => this.layers?.retry(id),
      zoomTo: zoom => this.map?.easeTo({zoom: zoom + 0.2, duration: calm ? 0 : 600}),
      hideIndicator: () => this.#change({indicator: null}, true),
      retryIndicator: () => this.choropleth?.retry(),
    }, desktop.matches);
  }

  #showTable() {
    const collection = this.collections.get(this.state.records ?? '') ?? null;
    const wasHidden = this.table.place.hidden;
    this.table.set(collection, this.clock.moment);
    document.body.classList.toggle('with-records', Boolean(collection));
    if (!collection || !wasHidden) return;
    raise();
    this.table.place.querySelector('h2')?.focus();
  }

  /** @param {import('maplibre-gl').Point} point */
  #pick(point) {
    const hits = this.layers?.at(point) ?? [];
    const cell = this.choropleth?.at(point);
    if (hits.length) this.#choose(hits);
    else if (cell && this.choropleth?.indicator) this.#showCell(this.choropleth.indicator, cell);
    else this.#closeCard();
  }

  /** @param {Hit[]} hits */
  #choose(hits) {
    this.hits = hits;
    this.opener = document.activeElement;
    this.#change({feature: {dataset: hits[0].dataset, id: hits[0].id}}, true);
  }

  /**
   * @param {api.Indicator} indicator
   * @param {import('./cells.js').CellHit} cell
   */
  #showCell(indicator, cell) {
    this.opener = document.activeElement;
    if (this.state.feature) this.#change({feature: null}, true);
    showCell(byId('card'), indicator, cell, () => this.#closeCard());
    this.#cardAppeared();
  }

  /** Open the card of the state's record, or close it. */
  async #showCard() {
    const {feature} = this.state;
    const {moment} = this.clock;
    const key = feature ? `${feature.dataset}/${feature.id}` : '';
    const asked = `${key} ${moment?.getTime() ?? ''}`;
    if (asked === this.opened) return;
    const isSame = key !== '' && this.opened.startsWith(`${key} `);
    this.opened = asked;
    if (!feature) return this.#hideCard();
    const place = byId('card');
    const collection = this.collections.get(feature.dataset);
    const actions = {
      close: () => this.#closeCard(),
      goTo: (/** @type {api.Item} */ item) => this.map && item.geometry && goTo(this.map, item.geometry, covered()),
      retry: () => ((this.opened = ''), this.#showCard()),
      turn: (/** @type {number} */ step) => this.#turn(step),
    };
    if (!isSame) {
      showWaiting(place, collection, null, actions);
      this.#cardAppeared();
    }
    try {
      const item = await api.item(feature.dataset, feature.id, moment);
      if (this.opened !== asked || !collection) return;
      const index = Math.max(0, this.hits.findIndex(hit => `${hit.dataset}/${hit.id}` === key));
      showRecord(place, collection, item, {index, total: this.hits.length}, actions);
      this.#markRecord(item, !isSame);
    } catch (error) {
      if (!(error instanceof api.ApiError)) throw error;
      if (this.opened === asked) showWaiting(place, collection, error.message, actions);
    }
    if (!isSame) place.querySelector('h2')?.focus();
  }

  /**
   * @param {api.Item} item
   * @param {boolean} goesThere where it is out of view
   */
  #markRecord(item, goesThere) {
    if (!this.map) return;
    mark(this.map, item);
    if (goesThere && item.geometry && !isInView(this.map, item.geometry, covered())) goTo(this.map, item.geometry, covered());
  }

  /**
   * To the next or last of the records under the click.
   * @param {number} step
   */
  #turn(step) {
    const {feature} = this.state;
    const at = this.hits.findIndex(hit => hit.dataset === feature?.dataset && hit.id === feature.id);
    const {dataset, id} = this.hits[(at + step + this.hits.length) % this.hits.length];
    this.#change({feature: {dataset, id}}, true);
  }

  #cardAppeared() {
    document.body.classList.add('with-card');
    raise();
    byId('card').querySelector('h2')?.focus();
  }

  #closeCard() {
    if (this.state.feature) this.#change({feature: null}, true);
    else this.#hideCard();
  }

  #hideCard() {
    const card = byId('card');
    if (card.hidden) return;
    const hadFocus = card.contains(document.activeElement);
    card.hidden = true;
    document.body.classList.remove('with-card');
    this.hits = [];
    if (this.map) mark(this.map, null);
    if (!hadFocus) return;
    const back = this.opener instanceof HTMLElement && this.opener.isConnected && this.opener !== document.body ? this.opener : this.map?.getCanvas();
    back?.focus();
  }

  #escape() {
    if (!byId('card').hidden) this.#closeCard();
    else if (this.state.records) this.#change({records: null}, true);
    else if (!byId('time').hidden) this.#openTime(false);
    else setStop('peek');
  }
}

/** Room that the panels take from the map, so that what is centred is seen. */
function roomForPanels() {
  return desktop.matches ? {left: 376, right: 336, top: 0, bottom: 0} : {left: 0, right: 0, top: 110, bottom: 90};
}

/** What the panels cover now: on a phone the sheet may stand higher than the map's own padding. */
function covered() {
  const room = roomForPanels();
  return desktop.matches || document.body.dataset.stop === 'peek' ? room : {...room, bottom: innerHeight * SHEET_HALF};
}

translatePage();
wireSheet();
const selectTab = wireTabs([byId('tab-layers'), byId('tab-indicators')]);
// `/` goes to the search, as on most sites with one; the tooltip says so.
addEventListener('keydown', event => {
  if (event.key !== '/' || event.target instanceof HTMLInputElement) return;
  event.preventDefault();
  byId('search').focus();
});
byId('search').addEventListener('focus', () => setStop('full'));
start();
