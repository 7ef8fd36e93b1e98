// The list of alerts: it only needs to know that something has changed.
import { renew, watch } from './live.js';

watch('/alerts?state=firing&limit=1', news => {
  if (String(news.total) !== document.body.dataset.count) renew();
});
