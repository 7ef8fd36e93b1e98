// Chosen series side by side.
import { load, periods } from './figures.js';

const CHARTS_MS = 30e3;
const { charts } = document.body.dataset;
if (periods) {
  load(charts);
  setInterval(() => document.hidden || load(charts), CHARTS_MS);
}
