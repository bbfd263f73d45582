// @ts-check
// The time bar: says which moment the page shows, and leads through the past: a day to pull through, a run at a chosen speed.
import {DAY_MS} from './clock.js';
import {h, icon, iconButton} from './dom.js';
import * as format from './format.js';
import {t} from './i18n.js';

/** @typedef {import('./clock.js').Clock} Clock */

const SPEEDS = [1, 60, 600, 3600, 21600];
const STEP_MS = 300_000;

export class TimeBar {
  /** @type {Clock} */
  #clock;
  #play = iconButton('play', t('time.play'), () => (this.#clock.runs ? this.#clock.stop() : this.#clock.run()));
  #slider = /** @type {HTMLInputElement} */ (h('input', {type: 'range', 'aria-label': t('time.slider'), oninput: () => this.#pull(), onchange: () => this.#let()}));
  #moment = /** @type {HTMLInputElement} */ (h('input', {type: 'datetime-local', 'aria-label': t('time.moment'), onchange: () => this.#choose()}));
  #speed = /** @type {HTMLSelectElement} */ (h('select', {'aria-label': t('time.speed'), onchange: () => this.#clock.setSpeed(Number(this.#speed.value))},
    ...SPEEDS.map(speed => h('option', {value: speed}, t(`speed.${speed}`)))));
  #now = h('button', {type: 'button', class: 'verb', onclick: () => this.#clock.show(null)}, t('time.now'));

  /**
   * @param {HTMLElement} place
   * @param {Clock} clock
   * @param {() => void} close
   */
  constructor(place, clock, close) {
    this.place = place;
    this.#clock = clock;
    const back = iconButton('close', `${t('time.close')} (Esc)`, close);
    place.replaceChildren(this.#play, this.#slider, this.#moment, this.#speed, this.#now, back);
  }

  /** Show what the clock says. */
  show() {
    const {moment, runs, speed} = this.#clock;
    const label = t(runs ? 'time.pause' : 'time.play');
    this.#play.replaceChildren(icon(runs ? 'pause' : 'play'));
    this.#play.title = label;
    this.#play.setAttribute('aria-label', label);
    const shown = moment?.getTime() ?? this.#clock.now();
    const end = Math.min(this.#clock.now(), shown + DAY_MS / 2);
    // While it is being pulled, a slider's ends stay where they are.
    if (!runs || shown < Number(this.#slider.min) || shown > Number(this.#slider.max)) {
      Object.assign(this.#slider, {min: String(end - DAY_MS), max: String(end), step: '1000'});
    }
    this.#slider.value = String(shown);
    this.#slider.setAttribute('aria-valuetext', moment ? format.time(moment.toISOString()) : t('time.now'));
    if (document.activeElement !== this.#moment) this.#moment.value = format.zoned(new Date(shown));
    this.#moment.max = format.zoned(new Date(this.#clock.now()));
    this.#speed.value = String(speed);
    this.#now.setAttribute('aria-pressed', String(moment === null));
  }

  /** The slider moves: say the moment, ask for nothing yet. */
  #pull() {
    this.#moment.value = format.zoned(this.#pulled());
    this.#slider.setAttribute('aria-valuetext', format.time(this.#pulled().toISOString()));
  }

  #let() {
    const atEnd = Number(this.#slider.max) - Number(this.#slider.value) < STEP_MS / 2;
    this.#clock.show(atEnd && Number(this.#slider.max) + STEP_MS > this.#clock.now() ? null : this.#pulled());
  }

  /** Where the slider stands, to five minutes: moments that many readers ask for are drawn once. */
  #pulled() {
    return new Date(Math.round(Number(this.#slider.value) / STEP_MS) * STEP_MS);
  }

  #choose() {
    const moment = format.unzoned(this.#moment.value);
    if (moment) this.#clock.show(moment);
  }
}
