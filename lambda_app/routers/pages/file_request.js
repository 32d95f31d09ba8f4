"use strict";
(() => {
  const HASHED_MAX_BYTES = 64 * 1024 * 1024; // computing the digest needs the whole file in memory
  const PARTS_FROM_BYTES = 16 * 1024 * 1024; // larger files are sent in parts and can be resumed
  const FILES_MAX = 3; // files that are sent at once
  const LANES = 4; // parts of one file that are sent at once
  const TRIES_MAX = 6; // of one request, without a success; time without a network does not count
  const STALLED_MS = 120_000; // a dead connection reports nothing by itself
  const MEDIA_TYPE = /^[\w!#$%&'+.^`|~-]+\/[\w!#$%&'+.^`|~-]+$/;
  const NO_CONNECTION = "The connection failed, or the file has changed since you chose it. Try again.";
  const REFUSED_STATUSES = [400, 403]; // from S3: the content does not match the declaration, or the upload URL has expired
  const LOST_UPLOAD_CODES = ["upload_rejected", "file_not_available", "link_not_found", "upload_lost"]; // a retry must start a new upload
  const SCAN_PENDING = "upload_withheld"; // the file has arrived; a malware scan must finish before the owner can download it
  const MAX_WAIT_SECONDS_BY_CODE = { [SCAN_PENDING]: 30 };
  const MAX_WAIT_SECONDS = 3600; // covers the rate limit of a network from which many files were sent
  const RECEIVED = "Arrived and verified";
  const FINAL_CODES = ["file_too_large", "content_type_refused", "malformed_request"]; // a retry cannot succeed

  const FILE_ICON = "M5 3h6.5L15 6.5V17H5zM11.5 3v3.5H15";
  const TICK_ICON = "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14M6.8 10.2l2.2 2.2 4.2-4.6";
  const ALERT_ICON = "M10 3.5 17.3 16H2.7zM10 8.3v3.5M10 13.9v.05";

  const [form, chosen, status, list, left, keepOpen] = ["form", "chosen", "status", "sent", "left", "keep-open"].map((id) => document.getElementById(id));
  const base = location.pathname;
  const maxBytes = Number(form.dataset.maxSizeBytes);
  const entries = [];
  const waiting = [];
  let activeFiles = 0;
  let lastStart = Promise.resolve();

  /** A failure with a message for the user. Without `canRetry` a retry cannot succeed. */
  class UploadError extends Error {
    constructor(text, { code = "", canRetry = true, isConnection = false } = {}) {
      super(text);
      this.code = code;
      this.canRetry = canRetry;
      this.isConnection = isConnection;
    }
  }

  /**
   * POST to the API. On `Retry-After`, call `onPause` with the time of the retry, wait and retry, up to the maximum wait. A cancellation ends
   * the waits only: the response of a request that was sent is needed, because it names the upload.
   */
  async function post(path, body, { onPause, signal }) {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    for (let waited = 0; ;) {
      let response;
      try {
        response = await fetch(path, { method: "POST", credentials: "omit", headers, body: JSON.stringify(body) });
      } catch {
        throw new UploadError(NO_CONNECTION, { isConnection: true });
      }
      const result = await response.json().catch(() => null);
      if (response.ok && (result !== null || response.status === 204)) return result;
      const code = result?.code ?? "";
      const pause = Number(response.headers.get("Retry-After"));
      waited += pause;
      if (!(pause > 0 && waited <= (MAX_WAIT_SECONDS_BY_CODE[code] ?? MAX_WAIT_SECONDS))) {
        throw new UploadError(explain(response.status, result), { code, canRetry: !FINAL_CODES.includes(code) });
      }
      onPause(new Date(Date.now() + pause * 1000));
      await wait(pause * 1000, signal);
    }
  }

  /** Wait, at the longest until `signal` is aborted or, with `endsOnline`, until the browser has a network again. */
  async function wait(milliseconds, signal, { endsOnline = false } = {}) {
    const ended = new AbortController();
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      ended.signal.addEventListener("abort", () => clearTimeout(timer));
      signal?.addEventListener("abort", resolve, { signal: ended.signal });
      if (endsOnline) addEventListener("online", resolve, { signal: ended.signal });
      if (signal?.aborted) resolve();
    });
    ended.abort();
    signal?.throwIfAborted();
  }

  function explain(status, problem) {
    if (status === 404) return "This link is no longer available.";
    if (typeof problem?.detail !== "string") return `The server returned an unexpected response (${status}). Try again.`;
    const fields = Array.isArray(problem.errors) ? problem.errors.map((error) => `${error.loc.at(-1)}: ${error.msg}`) : [];
    return [problem.detail, ...fields].join(". ");
  }

  /** POST an idempotent request, and repeat it while the connection fails. */
  async function postRepeatedly(path, body, run) {
    for (let tries = 1; ; tries++) {
      try {
        return await post(path, body, run);
      } catch (error) {
        if (!error.isConnection || tries >= TRIES_MAX) throw error;
        if (await waitForNetwork(tries, run.signal)) tries = 0;
      }
    }
  }

  /** Wait before a retry. Returns whether the browser had no network, in which case the retry does not count. */
  async function waitForNetwork(tries, signal) {
    const isOffline = navigator.onLine === false;
    const backoff = Math.min(30_000, 500 * 2 ** tries) * (0.5 + Math.random() / 2);
    await wait(isOffline ? 60_000 : backoff, signal, { endsOnline: isOffline });
    return isOffline;
  }

  async function sha256(blob) {
    const bytes = await blob.arrayBuffer().catch(() => {
      throw new UploadError("This file cannot be read. Choose it again.", { canRetry: false });
    });
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async function declare(file) {
    const declaration = {
      filename: file.name,
      content_type: MEDIA_TYPE.test(file.type) ? file.type : "application/octet-stream",
      size_bytes: file.size,
    };
    const hasDigest = Boolean(globalThis.crypto?.subtle);
    if (file.size > PARTS_FROM_BYTES) declaration.has_part_digests = hasDigest;
    else if (hasDigest && file.size <= HASHED_MAX_BYTES) declaration.sha256 = await sha256(file);
    return declaration;
  }

  /**
   * Declare the file. One after another, so that the files take the places of the request in the order in which they were chosen, and after
   * the cancellations in progress, which free places.
   */
  function start(entry, run) {
    const isInParts = entry.file.size > PARTS_FROM_BYTES;
    const started = lastStart.then(async () => {
      const declaration = await declare(entry.file);
      await Promise.all(entries.map((other) => other.upload && other.ending));
      run.signal.throwIfAborted();
      entry.upload = await post(`${base}/${isInParts ? "multipart" : "files"}`, declaration, run);
      if (!isInParts) return;
      entry.upload.has_part_digests = declaration.has_part_digests;
      remember();
    });
    lastStart = started.catch(() => {});
    return started;
  }

  /** Send the file or a part to S3. Resolves to the response status, or to 0 without a response. */
  function put(upload, file, onProgress, signal) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open(upload.method, upload.upload_url);
      for (const [name, value] of Object.entries(upload.headers)) {
        // Scripts must not set Content-Length; the browser does.
        if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value);
      }
      let watchdog;
      const abort = () => request.abort();
      request.upload.addEventListener("progress", (event) => {
        clearTimeout(watchdog);
        watchdog = setTimeout(abort, STALLED_MS);
        onProgress(event.loaded);
      });
      signal?.addEventListener("abort", abort, { once: true });
      request.addEventListener("loadend", () => {
        clearTimeout(watchdog);
        signal?.removeEventListener("abort", abort);
        resolve(request.status);
      });
      request.send(file);
    });
  }

  function sliceOf(entry, number) {
    const { part_size_bytes: size } = entry.upload;
    return entry.file.slice((number - 1) * size, number * size);
  }

  /** Return the parts that S3 has from the bytes that the file has now. The file may have changed since the page was loaded before. */
  async function heldParts(entry, path, run) {
    const { parts } = await postRepeatedly(`${path}/uploaded-parts`, { guest_token: entry.upload.guest_token }, run);
    const held = new Set();
    for (const part of parts) {
      const body = sliceOf(entry, part.number);
      const isSame = !entry.upload.has_part_digests || part.sha256 === await sha256(body);
      if (isSame && part.size_bytes === body.size) held.add(part.number);
    }
    return held;
  }

  /** Send the parts that S3 does not have, several at once. */
  async function sendParts(entry, run) {
    const path = `${base}/files/${entry.upload.file_id}`;
    const sent = new Map();
    const showProgress = (number, bytes) => {
      sent.set(number, bytes);
      showSent(entry, [...sent.values()].reduce((sum, size) => sum + size, 0));
    };
    const held = await heldParts(entry, path, run);
    for (const number of held) showProgress(number, sliceOf(entry, number).size);
    const missing = Array.from({ length: entry.upload.part_count }, (_, index) => index + 1).filter((number) => !held.has(number));
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, run.signal]);
    const lane = async () => {
      while (missing.length > 0 && !signal.aborted) await sendPart(entry, path, missing.shift(), { ...run, signal, showProgress });
    };
    await Promise.all(Array.from({ length: LANES }, () => lane().catch((error) => {
      stop.abort(error);
    })));
    signal.throwIfAborted();
  }

  async function sendPart(entry, path, number, { showProgress, ...run }) {
    const { signal } = run;
    const { guest_token, has_part_digests: hasDigest } = entry.upload;
    const body = sliceOf(entry, number);
    const part = hasDigest ? { number, sha256: await sha256(body) } : { number };
    for (let tries = 1; !signal.aborted; tries++) {
      // A new signature for each try, because the old one may have expired.
      const { parts } = await postRepeatedly(`${path}/parts`, { guest_token, parts: [part] }, run);
      if (signal.aborted) return;
      const code = await put(parts[0], body, (bytes) => showProgress(number, bytes), signal);
      if (code === 200) return showProgress(number, body.size);
      showProgress(number, 0);
      if (code === 404) throw new UploadError("The upload has ended. Try again.", { code: "upload_lost" });
      if (tries >= TRIES_MAX) throw new UploadError(code === 0 ? NO_CONNECTION : `The storage refused a part (${code}). Try again.`);
      if (!signal.aborted && await waitForNetwork(tries, signal)) tries = 0;
    }
  }

  // Progress stays in the entry, so a retry resumes there. It does not count as another file of the request, unless the response to the first
  // start was lost or the first upload has expired. Returns the message that describes the result.
  async function upload(entry) {
    const { signal } = entry.cancellation;
    const run = { signal, onPause: (until) => show(entry, `Waiting until ${until.toLocaleTimeString()} …`, { isActive: true }) };
    if (entry.file.size > maxBytes) throw new UploadError("This file is larger than this request allows.", { canRetry: false });
    if (!entry.upload) await start(entry, run);
    signal.throwIfAborted();
    const isInParts = Boolean(entry.upload.part_count);
    if (!entry.isStored && isInParts) {
      show(entry, "Sending …", { isSending: true });
      try {
        await sendParts(entry, run);
      } catch (error) {
        if (LOST_UPLOAD_CODES.includes(error.code)) forget(entry);
        // Completed before, if its response was lost: the completion tells.
        if (error.code !== "not_in_parts") throw error;
      }
      signal.throwIfAborted();
      entry.isStored = true;
      show(entry, "Checking …", { isSending: true });
    } else if (!entry.isStored) {
      show(entry, "Sending …", { isSending: true });
      const code = await put(entry.upload, entry.file, (bytes) => showSent(entry, bytes));
      entry.isStored = code === 200 || code === 412; // 412: an earlier attempt has already stored the file
      if (REFUSED_STATUSES.includes(code)) entry.upload = null;
      if (code === 0) throw new UploadError(NO_CONNECTION);
      if (!entry.isStored) throw new UploadError(`The file was refused (${code}): it has changed, or sending it took too long. Try again.`);
    }
    try {
      await postRepeatedly(`${base}/files/${entry.upload.file_id}/complete`, { guest_token: entry.upload.guest_token }, run);
      return RECEIVED;
    } catch (error) {
      if (error.code === SCAN_PENDING) return "Received. The malware scan is running.";
      if (LOST_UPLOAD_CODES.includes(error.code)) forget(entry);
      if (error.code === "upload_missing" || error.code === "parts_missing") entry.isStored = false;
      throw error;
    }
  }

  async function send(entry) {
    entry.cancellation = new AbortController();
    show(entry, "Sending …", { isSending: true });
    status.textContent = `Sending ${entry.name} …`;
    entry.running = upload(entry);
    try {
      const result = await entry.running;
      entry.isReceived = true;
      show(entry, result);
      entry.receipt.hidden = result !== RECEIVED;
    } catch (error) {
      const isExpected = error instanceof UploadError;
      const text = isExpected ? error.message : "Something went wrong. Try again.";
      if (!entry.cancellation.signal.aborted) show(entry, text, { isBad: true, canRetry: !isExpected || error.canRetry });
    }
    await entry.ending;
    remember();
  }

  /** Stop an upload in parts. The focus leaves the button, which disappears. */
  function cancel(entry) {
    const index = waiting.indexOf(entry);
    if (index >= 0) waiting.splice(index, 1);
    entry.cancellation.abort(new UploadError("Cancelled"));
    entry.ending = end(entry);
  }

  /** Delete what was sent, so that it takes no place of the request. A start in progress is awaited, because its response names the upload. */
  async function end(entry) {
    show(entry, "Cancelling …");
    await entry.running?.catch(() => {}); // `send` shows the failures of uploads that were not cancelled
    let text = "Cancelled";
    try {
      const run = { onPause: () => {} };
      if (entry.upload) await postRepeatedly(`${base}/files/${entry.upload.file_id}/abort`, { guest_token: entry.upload.guest_token }, run);
      forget(entry);
    } catch (error) {
      // Without a connection, the upload is kept: a retry continues it in its own place.
      if (error.isConnection) text = "Cancelled. The server did not answer, and deletes what was sent later.";
      else forget(entry);
      if (error.code === "not_in_parts") text = "The upload had ended before it was cancelled."; // its completion was not answered
    }
    await showPlacesLeft();
    entry.ending = null;
    show(entry, text, { canRetry: !entry.needsFile });
  }

  function forget(entry) {
    Object.assign(entry, { upload: null, isStored: false });
    remember();
  }

  /** Keep the unfinished uploads for a reload of this page. */
  function remember() {
    const unfinished = entries.filter((entry) => entry.upload?.part_count && !entry.isReceived);
    const kept = unfinished.map(({ file: { name, size, lastModified }, upload }) => ({ name, size, lastModified, upload }));
    try {
      sessionStorage.setItem(`we-upload:${base}`, JSON.stringify(kept));
    } catch {
      // Without storage, the upload works; only a reload ends it.
    }
  }

  /** Save the receipt. The server has it about a minute after the upload. */
  async function saveReceipt(entry) {
    const onPause = () => show(entry, `${RECEIVED}. The receipt will be available in about a minute; it is then saved.`);
    entry.receipt.hidden = true;
    try {
      const path = `${base}/files/${entry.upload.file_id}/receipt`;
      const receipt = await postRepeatedly(path, { guest_token: entry.upload.guest_token }, { onPause });
      const anchor = document.createElement("a");
      // Compact, with the members in their order: these are the bytes that the server sent, and only these verify.
      anchor.href = URL.createObjectURL(new Blob([JSON.stringify(receipt)], { type: "application/json" }));
      anchor.download = `${entry.name}.receipt.json`;
      anchor.click();
      URL.revokeObjectURL(anchor.href);
      show(entry, `${RECEIVED}. The receipt is saved. Anyone can check it with “we-upload verify”.`);
    } catch (error) {
      show(entry, error instanceof UploadError ? error.message : "Something went wrong. Try again.", { isBad: true });
    }
    entry.receipt.hidden = false;
    entry.receipt.focus();
  }

  /** Show the unfinished uploads of an earlier load of this page. */
  function restore() {
    let kept = [];
    try {
      kept = JSON.parse(sessionStorage.getItem(`we-upload:${base}`)) ?? [];
    } catch {
      // Nothing can be restored.
    }
    for (const { upload, ...file } of kept) {
      const entry = makeEntry(file);
      Object.assign(entry, { upload, needsFile: true });
      show(entry, "Sent in part. Choose this file again to continue.");
    }
    list.hidden = kept.length === 0;
  }

  function isSameFile(one, other) {
    return one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;
  }

  async function sendAll() {
    if (activeFiles >= FILES_MAX) return;
    activeFiles += 1;
    while (waiting.length > 0) await send(waiting.shift());
    activeFiles -= 1;
    if (activeFiles > 0) return;
    const missing = entries.filter((entry) => !entry.isReceived).map((entry) => entry.name);
    const all = entries.length === 1 ? "The file has arrived" : `All ${entries.length} files have arrived`;
    const some = `${entries.length - missing.length} of ${entries.length} files have arrived. Missing: ${missing.join(", ")}.`;
    status.textContent = missing.length > 0 ? some : all;
    keepOpen.hidden = true;
    await showPlacesLeft();
  }

  async function showPlacesLeft() {
    const response = await fetch(base, { credentials: "omit", headers: { Accept: "application/json" } }).catch(() => null);
    if (response?.ok) left.textContent = String((await response.json()).files_left);
  }

  function queue(entry) {
    waiting.push(entry);
    entry.cancellation = new AbortController();
    keepOpen.hidden = false;
    show(entry, "Waiting", { isActive: true });
    sendAll();
  }

  function show(entry, text, { isSending = false, isActive = isSending, isBad = false, canRetry = false } = {}) {
    if (entry.cancellation.signal.aborted && isActive) return; // a request that was sent before the cancellation
    const isReceived = text.startsWith(RECEIVED);
    entry.result.className = isBad ? "result message" : isReceived ? "result ok" : "result";
    entry.result.replaceChildren(...(isBad ? [icon(ALERT_ICON)] : isReceived ? [icon(TICK_ICON)] : []), document.createElement("span"));
    const start = isReceived ? RECEIVED : text === "Waiting" ? text : "";
    entry.result.lastChild.textContent = start ? `${start} · ${formatSize(entry.file.size)}${text.slice(start.length)}` : text;
    entry.progress.hidden = !isSending;
    entry.retry.hidden = !canRetry;
    const canCancel = entry.upload ? Boolean(entry.upload.part_count) && !entry.isStored : isActive && entry.file.size > PARTS_FROM_BYTES;
    entry.cancel.hidden = !canCancel || entry.isReceived || entry.cancellation.signal.aborted;
  }

  function showSent(entry, bytes) {
    entry.progress.value = bytes;
    if (entry.cancellation.signal.aborted) return;
    entry.result.lastChild.textContent = `Sending … ${formatSize(bytes)} of ${formatSize(entry.file.size)}`;
  }

  function icon(path) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "i");
    svg.setAttribute("viewBox", "0 0 20 20");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    svg.firstChild.setAttribute("d", path);
    return svg;
  }

  /** Format a size as the template formats the size limit: three digits at most, in units of 1000. */
  function formatSize(bytes) {
    let power = 0;
    while (power < 4 && bytes / 1000 ** power >= 999.5) power += 1;
    const value = bytes / 1000 ** power;
    const digits = Math.min(Math.max(0, power - 1), value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
    return `${Number(value.toFixed(digits))} ${["B", "KB", "MB", "GB", "TB"][power]}`;
  }

  function element(tag, className, parent) {
    const created = document.createElement(tag);
    if (className) created.className = className;
    parent.append(created);
    return created;
  }

  function makeEntry(file) {
    const item = element("li", "", list);
    // Without Unicode direction marks, which could make the name read as another one.
    const name = file.name.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");
    element("span", "tile", item).append(icon(FILE_ICON));
    element("bdi", "", element("span", "name", item)).textContent = name;
    const cancellation = new AbortController();
    const entry = { file, name, upload: null, isStored: false, isReceived: false, needsFile: false, cancellation };
    entry.result = element("p", "result", item);
    entry.progress = element("progress", "", item);
    entry.progress.max = Math.max(file.size, 1);
    entry.progress.value = 0;
    entry.progress.setAttribute("aria-label", `Sending ${name}`);
    const actions = element("span", "actions", item);
    entry.cancel = element("button", "", actions);
    entry.cancel.type = "button";
    entry.cancel.textContent = "Cancel";
    entry.cancel.setAttribute("aria-label", `Cancel: ${name}`);
    entry.cancel.addEventListener("click", () => {
      item.tabIndex = -1;
      item.focus();
      cancel(entry);
    });
    entry.retry = element("button", "", actions);
    entry.retry.type = "button";
    entry.retry.textContent = "Try again";
    entry.retry.setAttribute("aria-label", `Try again: ${name}`);
    entry.retry.addEventListener("click", () => {
      item.tabIndex = -1;
      item.focus(); // the focused button disappears; keep the focus position
      queue(entry);
    });
    entry.receipt = element("button", "", actions);
    entry.receipt.type = "button";
    entry.receipt.hidden = true;
    entry.receipt.textContent = "Receipt";
    entry.receipt.setAttribute("aria-label", `Download receipt: ${name}`);
    entry.receipt.addEventListener("click", () => {
      item.tabIndex = -1;
      item.focus();
      saveReceipt(entry);
    });
    entries.push(entry);
    return entry;
  }

  function add(files) {
    list.hidden = files.length === 0 && entries.length === 0;
    for (const file of files) {
      const restored = entries.find((entry) => entry.needsFile && entry.upload && !entry.ending && isSameFile(entry.file, file));
      queue(Object.assign(restored ?? makeEntry(file), { file, needsFile: false }));
    }
    list.lastElementChild?.scrollIntoView({ block: "nearest" });
  }

  chosen.addEventListener("change", () => {
    const files = [...chosen.files];
    form.reset();
    add(files);
  });
  // On the whole page: a browser opens a file that is dropped beside the zone, and leaves the page.
  for (const type of ["dragover", "dragleave", "drop"]) {
    addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      if (type !== "dragleave") event.preventDefault();
      form.classList.toggle("over", type === "dragover");
      if (type === "drop") add([...event.dataTransfer.files]);
    });
  }
  addEventListener("beforeunload", (event) => {
    if (activeFiles > 0) event.preventDefault();
  });
  restore();
  document.getElementById("without-script").hidden = true;
  form.hidden = false;
})();
