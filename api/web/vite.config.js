// Bundles the pages into dist/: hashed names under assets/, each file also as .br and .gz so that the server compresses nothing.
// `vite` alone serves the sources for development and passes everything else to a running city (TWIN_API).
import {readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {brotliCompressSync, constants, gzipSync} from 'node:zlib';
import {defineConfig} from 'vite';

const PAGES = ['public.html'];
const COMPRESSED = /\.(js|mjs|css|svg|json)$/;
const SMALLEST = 1024;

/** @returns {import('vite').Plugin} */
function precompress() {
  return {
    name: 'precompress',
    apply: 'build',
    closeBundle() {
      const folder = join(import.meta.dirname, 'dist');
      for (const name of readdirSync(folder, {recursive: true, encoding: 'utf8'})) {
        if (!COMPRESSED.test(name)) continue;
        const bytes = readFileSync(join(folder, name));
        if (bytes.length < SMALLEST) continue;
        const quality = {params: {[constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length}};
        writeFileSync(join(folder, `${name}.br`), brotliCompressSync(bytes, quality));
        writeFileSync(join(folder, `${name}.gz`), gzipSync(bytes, {level: 9}));
      }
    },
  };
}

const api = process.env.TWIN_API ?? 'http://127.0.0.1:8000';

export default defineConfig({
  base: '/static/',
  plugins: [precompress()],
  build: {
    target: 'es2022',
    modulePreload: {polyfill: false},
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1500,
    rollupOptions: {input: PAGES},
  },
  worker: {format: 'es'},
  server: {
    host: '127.0.0.1',
    proxy: {'^/(\\?|collections|indicators|basemaps)': {target: api}},
  },
});
