// @ts-check
// The language of the page: `?lang=zh|en`, else the browser's. Texts of the page come from i18n/*.json, data brings its own.
import en from './i18n/en.json';
import zh from './i18n/zh.json';

/** @typedef {{zh: string, en: string}} Title */

/** @type {'zh' | 'en'} */
export const lang = chosen();

/** @type {Record<string, string>} */
const texts = lang === 'zh' ? zh : en;

function chosen() {
  const asked = new URLSearchParams(location.search).get('lang');
  if (asked === 'zh' || asked === 'en') return asked;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

/**
 * A text of the page; `{name}` is replaced by `values.name`.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = texts[key];
  if (text === undefined) throw new Error(`no text is called ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * Whether the page has a text of that name.
 * @param {string} key
 */
export function has(key) {
  return key in texts;
}

/**
 * The text of a bilingual title in the page's language.
 * @param {Title} title
 */
export function pick(title) {
  return title[lang];
}

/** Fill the texts of the page itself: `data-text`, `data-label` (accessible name) and `data-hint` (placeholder). */
export function translatePage() {
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
  /** @type {[string, (element: HTMLElement, text: string) => void][]} */
  const kinds = [
    ['text', (element, text) => element.replaceChildren(text)],
    ['label', (element, text) => element.setAttribute('aria-label', text)],
    ['hint', (element, text) => element.setAttribute('placeholder', text)],
  ];
  for (const [kind, set] of kinds) {
    for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(`[data-${kind}]`))) {
      set(element, t(/** @type {string} */ (element.dataset[kind])));
    }
  }
}
