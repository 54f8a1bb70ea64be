/** @file Runs inside the browser: the pipeline worker where everything is refused that keeps anything. */
import './take-away-everything.js';
import '../../workers/pipeline.worker.js';
