// @ts-check
// The one clock of a page: all that is on it shows the same moment. Stopped at a moment, running through the past, or at now.

export const DAY_MS = 86_400_000;
const STEP_MS = 1000;

export class Clock {
  /** What the page shows; null: now. @type {Date | null} */
  moment = null;
  /** Seconds of the city's past that pass in one second, while it runs. */
  speed = 600;
  /** Where and when the run began, in milliseconds; null while it stands. @type {{moment: number, at: number} | null} */
  #began = null;
  #stepped = 0;

  /**
   * @param {() => void} changed called when the clock shows another moment, or starts or stops by itself
   * @param {() => number} [now] the time of the world in milliseconds
   */
  constructor(changed, now = Date.now) {
    this.changed = changed;
    this.now = now;
  }

  get runs() {
    return this.#began !== null;
  }

  /**
   * Stand at a moment. One that has not come yet is now.
   * @param {Date | null} moment
   */
  show(moment) {
    this.#began = null;
    this.moment = moment && moment.getTime() < this.now() ? moment : null;
    this.changed();
  }

  /** Run from the moment that is shown; from a day ago when that is now. */
  run() {
    this.moment ??= new Date(this.now() - DAY_MS);
    this.#began = {moment: this.moment.getTime(), at: this.now()};
    this.#stepped = this.now();
    this.changed();
  }

  /** Stand where it is. */
  stop() {
    this.#began = null;
    this.changed();
  }

  /** @param {number} speed seconds of the past in one second */
  setSpeed(speed) {
    this.speed = speed;
    if (this.runs) this.run();
    else this.changed();
  }

  /**
   * Go on, when a second has passed and the page shows the moment before. A slow page leaves moments out, so that the speed
   * holds; at now the run is over.
   * @param {boolean} isShown
   */
  tick(isShown) {
    if (!this.#began || !isShown || this.now() - this.#stepped < STEP_MS) return;
    this.#stepped = this.now();
    const moment = this.#began.moment + (this.now() - this.#began.at) * this.speed;
    if (moment >= this.now()) return this.show(null);
    this.moment = new Date(moment);
    this.changed();
  }
}
