// What every page has. Native modules, no build step, no library. Every page already works without scripts: links are
// links, actions are form POSTs; what is here makes it quick. A page's own script stands in its template.
import { ages } from './format.js';
import './theme.js';
import './actions.js';
import './dialogs.js';
import './palette.js';

setInterval(ages, 1000);
ages();
