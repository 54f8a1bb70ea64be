/** @file Runs inside the browser, in a worker, before anything of the library does: as a private window that refuses everything. */
import { takeAway } from './take-away.js';

takeAway(['private file system', 'cache', 'use of locks', 'channels', 'estimates']);
