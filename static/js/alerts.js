// The list of alerts: it needs only to know that something is new.
import { renew, watch } from './live.js';

watch('/alerts?state=firing&limit=1', news => {
  if (String(news.total) !== document.body.dataset.count) renew();
});
