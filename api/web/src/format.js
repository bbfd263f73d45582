// @ts-check
// Numbers, units, times and distances in the page's language. A value never stands without its unit.
import {has, lang, pick, t} from './i18n.js';

const locale = lang === 'zh' ? 'zh-CN' : 'en-GB';
const whole = new Intl.NumberFormat(locale, {maximumFractionDigits: 2});

/** Parts of UCUM units that people write otherwise; those that differ by language are texts of the page (`unit.h`). */
const SIGNS = /** @type {Record<string, string>} */ ({
  1: '', ug: 'µg', 'kW.h': 'kWh', m2: 'm²', m3: 'm³', km2: 'km²', Cel: '°C', deg: '°', '[pH]': 'pH', 'dB[SPL]': 'dB',
});
const PART = /kW\.h|dB\[SPL\]|\[\w+\]|\{[^}]*\}|[A-Za-z]+\d?|\d+/g;

/**
 * A unit to be read: `ug/m3` is µg/m³, `t/a` is 吨/年. A counted thing (`1`) needs no sign.
 * @param {string | null | undefined} unit UCUM
 */
export function unitText(unit) {
  return (unit ?? '').replace(PART, part => (has(`unit.${part}`) ? t(`unit.${part}`) : (SIGNS[part] ?? part.replace(/[{}]/g, ''))));
}

/**
 * A number in full, with its unit.
 * @param {number} value
 * @param {string | null} [unit]
 */
export function number(value, unit) {
  if (unit === 'a' && value >= 1000) return String(value); // a year of the calendar, not a length of time
  const sign = unitText(unit);
  return sign ? `${whole.format(value)}${/^[%°]/.test(sign) ? '' : ' '}${sign}` : whole.format(value);
}

/**
 * A count, shortened from 100,000 on: 12.3万, 123 k.
 * @param {number} value
 */
export function count(value) {
  if (value < 1e5) return whole.format(value);
  const steps = /** @type {[number, string][]} */ (lang === 'zh' ? [[1e8, '亿'], [1e4, '万']] : [[1e6, ' M'], [1e3, ' k']]);
  const [size, word] = steps.find(([size]) => value >= size) ?? [1, ''];
  const short = value / size;
  return `${short >= 100 ? Math.round(short) : short.toFixed(1)}${word}`;
}

/**
 * A length on the ground: metres below 1,000, then kilometres.
 * @param {number} length_m
 */
export function distance(length_m) {
  return length_m < 1000 ? t('unit.metres', {n: whole.format(Math.round(length_m))}) : t('unit.kilometres', {n: (length_m / 1000).toFixed(1)});
}

/**
 * A length of time as the catalogue writes it: `1 h`.
 * @param {string} text number and UCUM unit
 */
export function duration(text) {
  const [amount, unit] = text.split(' ');
  return number(Number(amount), unit);
}

let zone = 'UTC';

/**
 * Show times in the city's zone from now on.
 * @param {string} name IANA
 */
export function setZone(name) {
  zone = name;
}

/**
 * `2026-11-22 08:05` in the city's zone, whatever the reader's own.
 * @param {string} moment RFC 3339
 */
export function time(moment) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return moment;
  const parts = new Intl.DateTimeFormat('sv-SE', {timeZone: zone, dateStyle: 'short', timeStyle: 'short'});
  return parts.format(date);
}

/**
 * `2026-11-22T08:05` in the city's zone, as a `datetime-local` field holds it.
 * @param {Date} moment
 */
export function zoned(moment) {
  return time(moment.toISOString()).replace(' ', 'T');
}

/**
 * The moment of such a text; null for what is none.
 * @param {string} text
 */
export function unzoned(text) {
  const asUtc = new Date(`${text}Z`).getTime();
  if (Number.isNaN(asUtc)) return null;
  // The zone's shift is that of the moment, which is known well enough from the shift at the text taken as UTC.
  const shift = new Date(`${zoned(new Date(asUtc))}Z`).getTime() - asUtc;
  return new Date(asUtc - shift);
}

/**
 * How long ago: "3 分钟前", "3 minutes ago".
 * @param {string} moment RFC 3339
 */
export function ago(moment) {
  const age_s = (Date.now() - new Date(moment).getTime()) / 1000;
  if (!Number.isFinite(age_s)) return moment;
  const words = new Intl.RelativeTimeFormat(locale, {numeric: 'auto'});
  const steps = /** @type {[number, Intl.RelativeTimeFormatUnit][]} */ ([[31557600, 'year'], [2629800, 'month'], [86400, 'day'], [3600, 'hour'], [60, 'minute']]);
  const [size_s, word] = steps.find(([size_s]) => Math.abs(age_s) >= size_s) ?? [1, 'second'];
  return words.format(-Math.round(age_s / size_s), word);
}

/**
 * A value of a record as its field says; null when there is none.
 * @param {any} value
 * @param {import('./api.js').Field} field
 * @returns {string | null}
 */
export function fieldText(value, field) {
  if (value === null || value === undefined || value === '') return null;
  const meaning = field.values?.[String(value)];
  if (meaning) return pick(meaning);
  if (field.type === 'boolean') return t(value ? 'yes' : 'no');
  if (field.type === 'datetime') return time(value);
  if (typeof value === 'number') return number(value, field.unit);
  return String(value);
}
