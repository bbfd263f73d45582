// @ts-check
// Follows datasets as they change: what there is, then every change, from the server's events.
import {ROOT} from './api.js';

/** @typedef {import('./api.js').Item} Item */
/** @typedef {{collection: string, features: Item[], removed: string[]}} Said */

const RETRY_MS = 5000;

/** What moves in one dataset: the newest feature of each id. */
export class Live {
  /** @type {Map<string, Item>} */
  #features = new Map();
  /** @type {EventSource | null} */
  #events = null;
  #retry = 0;

  /**
   * @param {string} dataset
   * @param {(features: Item[]) => void} changed called with all features when any of them has changed
   * @param {() => void} failed called when the server cannot be followed; it is tried again
   */
  constructor(dataset, changed, failed) {
    this.dataset = dataset;
    this.changed = changed;
    this.failed = failed;
    this.#open();
  }

  close() {
    clearTimeout(this.#retry);
    this.#events?.close();
    this.#events = null;
  }

  #open() {
    const events = new EventSource(`${ROOT}live?collections=${encodeURIComponent(this.dataset)}`);
    this.#events = events;
    events.addEventListener('snapshot', event => {
      this.#features.clear();
      this.#take(JSON.parse(event.data));
    });
    events.addEventListener('delta', event => this.#take(JSON.parse(event.data)));
    // Fallen behind: begin again from what there is.
    events.addEventListener('slow', () => (this.close(), this.#open()));
    events.addEventListener('error', () => {
      if (events.readyState !== EventSource.CLOSED) return; // the browser connects again by itself
      this.close();
      this.failed();
      this.#retry = window.setTimeout(() => this.#open(), RETRY_MS);
    });
  }

  /** @param {Said} said */
  #take({features, removed}) {
    for (const id of removed) this.#features.delete(id);
    // Layers and cards know a record by the property `id`, as in tiles.
    for (const feature of features) this.#features.set(feature.id, {...feature, properties: {...feature.properties, id: feature.id}});
    this.changed([...this.#features.values()]);
  }
}
