// The list of servers: the page's query as JSON. Numbers change in place, rows never move, outdated texts are fetched
// again.
import { $, $$, el, put } from './dom.js';
import { stamp, unit } from './format.js';
import { renew, shows, watch } from './live.js';
import { pack, spark } from './canvas.js';

// A figure over a limit is a <b>, any other a <span>.
function figure(cell, value, isHot) {
  const old = cell?.firstElementChild;
  if (!old) return;
  const tag = value != null && isHot ? 'b' : 'span';
  const e = old.tagName === tag.toUpperCase() ? old : el(tag);
  put(e, unit(value, '%'));
  if (e !== old) old.replaceWith(e);
}

// Whether the row could be made to say how the server is now.
function update(row, server) {
  const cell = name => $(`[data-${name}]`, row), polled = $('time', cell('polled'));
  const sample = server.last_sample, open = kind => server.alerts.kinds.includes(kind);
  if (!shows(row, cell('state'), server)) return false;
  if (!sample || !polled) return !sample && !polled;
  const disk = sample.disk_max_percent ?? sample.disk_percent;
  figure(cell('cpu'), sample.cpu_percent, open('metric.cpu'));
  figure(cell('mem'), sample.mem_percent, open('metric.mem'));
  figure(cell('disk'), disk, open('metric.disk'));
  const bar = $('meter', cell('disk')), line = $('canvas', cell('cpu'));
  if (bar) bar.value = (disk ?? 0) / 100;
  if (line && server.spark_cpu) {
    line.dataset.s = pack(server.spark_cpu);
    spark(line);
  }
  if (sample.load1 != null) put(cell('load').firstChild, unit(sample.load1, ''));
  stamp(polled, sample.ts);
  return true;
}

const rows = new Map($$('tr[data-id]').map(row => [row.dataset.id, row]));
watch('/servers' + document.body.dataset.query, news => {
  for (const server of news.items) {
    const row = rows.get(String(server.id));
    if (row && !update(row, server)) return renew();
  }
});
