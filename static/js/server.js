// One server: its charts and the figures of now.
import { $, $$ } from './dom.js';
import { stamp, unit } from './format.js';
import { LAMP, alertsOf, page, renew, watch } from './live.js';
import { charts } from './chart.js';
import { load, periods } from './figures.js';

const body = document.body, path = `/servers/${page().id}`;

// What the caption of each chart says of now.
const figuresOf = sample => ({
  cpu: [sample.cpu_percent, '%'],
  mem: [sample.mem_percent, '%'],
  disk: [sample.disk_max_percent ?? sample.disk_percent, '%'],
  load: [sample.load1, ''],
  net: [sample.net_rx, 'B/s'],
  io: [sample.disk_read, 'B/s'],
  iowait: [sample.iowait_percent, '%'],
  poll: [sample.took_ms, 'ms'],
});

const isTold = server =>
  LAMP[server.state] + (server.silenced_until ? ' hush' : '') === body.dataset.lamp &&
  alertsOf(server) === body.dataset.a &&
  server.host_key_state === body.dataset.key;

let drawn = 0;
watch(path, server => {
  const sample = server.last_sample;
  if (!isTold(server) || (sample && !periods)) return renew();
  if (!sample) return;
  const figures = figuresOf(sample);
  for (const figure of $$('figure.chart')) charts.get(figure.id).tell(unit(...figures[figure.dataset.figure]));
  stamp($('#seen time') || $('.pill time'), sample.ts);
  if (Date.parse(sample.ts) <= drawn) return;
  drawn = Date.parse(sample.ts);
  load(`${path}/metrics`);
});
if (periods) load(`${path}/metrics`);
