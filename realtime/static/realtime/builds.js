// @ts-check
/** What is known of a person's builds: a pure fold of feed events and answers. No DOM, no I/O. */

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} type
 * @property {string} status
 * @property {number} progress percent
 * @property {number} attempt
 * @property {string} error empty when there is none
 */
/**
 * @typedef {object} Build
 * @property {string} id
 * @property {string} name empty until known
 * @property {string} status
 * @property {number} total jobs
 * @property {number} completed jobs
 * @property {number} failed jobs
 * @property {boolean} engineOnline
 * @property {string} artifactUrl empty until there is one
 * @property {Map<string, Job>} jobs in the order they became known
 */

const FINAL = new Set(["completed", "failed"]);
const RANKS = ["queued", "dispatched", "running", "failed", "completed"];

/** @param {string} id @returns {Build} */
function newBuild(id) {
  const counts = { total: 0, completed: 0, failed: 0 };
  return { id, name: "", status: "queued", ...counts, engineOnline: true, artifactUrl: "", jobs: new Map() };
}

/** @param {any} error an object with a message or code, or text @returns {string} */
function errorText(error) {
  if (!error) return "";
  return typeof error === "string" ? error : (error.message ?? error.code ?? JSON.stringify(error));
}

/** @param {any} world of an event: `{id, name}`, or only its name @returns {string} */
function worldName(world) {
  return typeof world === "string" ? world : (world?.name ?? world?.id ?? "");
}

/** @param {Build} build @returns {number} percent; jobs half done count by their progress */
export function progressOf({ status, total, completed, jobs }) {
  if (status === "completed") return 100;
  if (!total) return 0;
  const running = [...jobs.values()].filter((job) => job.status === "running");
  const parts = running.reduce((sum, job) => sum + job.progress / 100, completed);
  return Math.min(100, Math.round((parts / total) * 100));
}

/** @param {Build} build @returns {Job | undefined} one to retry, which retries all that failed */
export function retryable({ status, jobs }) {
  return status === "failed" ? [...jobs.values()].findLast((job) => job.status === "failed") : undefined;
}

/** A retry re-opened the build: new jobs stand for each that failed. @param {Build} build */
function dropFailed({ jobs }) {
  for (const [id, { status }] of jobs) if (status === "failed") jobs.delete(id);
}

export class BuildBook {
  /** @type {Map<string, Build>} oldest first */
  builds = new Map();

  /** @type {Record<string, (data: any) => Build>} */
  #folds = {
    build_status: (data) => this.#status(data),
    job_status: (data) => this.#job(data),
    world_update: (data) => this.#world(data),
  };

  /**
   * @param {string} event `build_status`, `job_status` or `world_update`
   * @param {any} data
   * @returns {Build} as it is now
   */
  apply(event, data) {
    return this.#folds[event](data);
  }

  /** A snapshot says all there is. @param {{builds: any[]}} snapshot */
  reset({ builds }) {
    this.builds.clear();
    for (const build of [...builds].sort((one, other) => one.created_at - other.created_at)) {
      this.#status(build);
      this.#world(build);
      for (const job of build.jobs ?? []) this.#job({ ...job, build_id: build.build_id });
    }
  }

  /**
   * The ack of `generate_world` or `job_retry`; events of the build may have come before it.
   * @param {{build_id: string, jobs?: {job_id: string, job_type: string}[]}} ack
   * @param {string} [name] of the world
   * @returns {Build}
   */
  submitted({ build_id: id, jobs = [] }, name = "") {
    const build = this.#find(id);
    build.name ||= name;
    for (const { job_id: jobId, job_type: type } of jobs) this.#findJob(build, jobId, type);
    build.total = Math.max(build.total, build.jobs.size);
    return build;
  }

  /** @param {string} id @returns {Build} */
  #find(id) {
    const build = this.builds.get(id) ?? newBuild(id);
    this.builds.set(id, build);
    return build;
  }

  /** @param {Build} build @param {string} id @param {string} type @returns {Job} */
  #findJob(build, id, type) {
    const job = build.jobs.get(id) ?? { id, type, status: "queued", progress: 0, attempt: 0, error: "" };
    build.jobs.set(id, job);
    return job;
  }

  /** @param {any} data @returns {Build} */
  #status({ build_id: id, status, total, completed, failed, engine_online: engineOnline }) {
    const build = this.#find(id);
    if (build.status === "failed" && !FINAL.has(status)) dropFailed(build);
    return Object.assign(build, { status, total, completed, failed, engineOnline });
  }

  /** @param {any} data @returns {Build} */
  #job({ build_id: id, job_id: jobId, job_type: type, status, progress, attempt, error, seq }) {
    const build = this.#find(id);
    const job = this.#findJob(build, jobId, type);
    // Progress alone travels outside the feed, so it may come late: it never undoes an end.
    if (seq === undefined && RANKS.indexOf(status) < RANKS.indexOf(job.status)) return build;
    const shown = status === "completed" ? 100 : (progress ?? (FINAL.has(status) ? job.progress : 0));
    Object.assign(job, { status, progress: shown, attempt: attempt ?? job.attempt, error: errorText(error) });
    return build;
  }

  /** @param {any} data @returns {Build} */
  #world({ build_id: id, world, artifact_url: artifactUrl }) {
    const build = this.#find(id);
    build.name = worldName(world) || build.name;
    build.artifactUrl = artifactUrl || build.artifactUrl;
    return build;
  }
}
