"use strict";
(() => {
  const HASHED_MAX_BYTES = 64 * 1024 * 1024; // computing the digest needs the whole file in memory
  const MEDIA_TYPE = /^[\w!#$%&'+.^`|~-]+\/[\w!#$%&'+.^`|~-]+$/;
  const NO_CONNECTION = "The connection failed, or the file has changed since you chose it. Try again.";
  const REFUSED_STATUSES = [400, 403]; // from S3: the content does not match the declaration, or the upload URL has expired
  const LOST_UPLOAD_CODES = ["upload_rejected", "file_not_available", "link_not_found"]; // a retry must start a new upload
  const SCAN_PENDING = "upload_withheld"; // the file has arrived; a malware scan must finish before the owner can download it
  const MAX_WAIT_SECONDS_BY_CODE = { [SCAN_PENDING]: 30 };
  const MAX_WAIT_SECONDS = 3600; // covers the rate limit of a network from which many files were sent
  const RECEIVED = "Received";
  const FINAL_CODES = ["file_too_large", "content_type_refused", "malformed_request"]; // a retry cannot succeed

  const [form, chosen, status, list, left] = ["form", "chosen", "status", "sent", "left"].map((id) => document.getElementById(id));
  const base = location.pathname;
  const maxBytes = Number(form.dataset.maxSizeBytes);
  const entries = [];
  const waiting = [];
  let isSendingAll = false;

  /** A failure with a message for the user. Without `canRetry` a retry cannot succeed. */
  class UploadError extends Error {
    constructor(text, { code = "", canRetry = true } = {}) {
      super(text);
      this.code = code;
      this.canRetry = canRetry;
    }
  }

  /** POST to the API. On `Retry-After`, call `onPause` with the time of the retry, wait and retry, up to the maximum wait. */
  async function post(path, body, onPause) {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    for (let waited = 0; ;) {
      let response;
      try {
        response = await fetch(path, { method: "POST", credentials: "omit", headers, body: JSON.stringify(body) });
      } catch {
        throw new UploadError(NO_CONNECTION);
      }
      const result = await response.json().catch(() => null);
      if (response.ok && result !== null) return result;
      const code = result?.code ?? "";
      const pause = Number(response.headers.get("Retry-After"));
      waited += pause;
      if (!(pause > 0 && waited <= (MAX_WAIT_SECONDS_BY_CODE[code] ?? MAX_WAIT_SECONDS))) {
        throw new UploadError(explain(response.status, result), { code, canRetry: !FINAL_CODES.includes(code) });
      }
      onPause(new Date(Date.now() + pause * 1000));
      await new Promise((resolve) => { setTimeout(resolve, pause * 1000); });
    }
  }

  function explain(status, problem) {
    if (status === 404) return "This link is no longer available.";
    if (typeof problem?.detail !== "string") return `The server returned an unexpected response (${status}). Try again.`;
    const fields = Array.isArray(problem.errors) ? problem.errors.map((error) => `${error.loc.at(-1)}: ${error.msg}`) : [];
    return [problem.detail, ...fields].join(". ");
  }

  async function declare(file) {
    const declaration = {
      filename: file.name,
      content_type: MEDIA_TYPE.test(file.type) ? file.type : "application/octet-stream",
      size_bytes: file.size,
    };
    if (globalThis.crypto?.subtle && file.size <= HASHED_MAX_BYTES) {
      const bytes = await file.arrayBuffer().catch(() => {
        throw new UploadError("This file cannot be read. Choose it again.", { canRetry: false });
      });
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      declaration.sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return declaration;
  }

  /** Send the file to S3. Resolves to the response status, or to 0 without a response. */
  function put(upload, file, onProgress) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open(upload.method, upload.upload_url);
      for (const [name, value] of Object.entries(upload.headers)) {
        // Scripts must not set Content-Length; the browser does.
        if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value);
      }
      request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
      request.addEventListener("loadend", () => resolve(request.status));
      request.send(file);
    });
  }

  // Progress stays in the entry, so a retry resumes there. It does not count as another file of the request, unless the response to the first
  // start was lost or the first upload has expired. Returns the message that describes the result.
  async function upload(entry) {
    const onPause = (until) => show(entry, `Waiting until ${until.toLocaleTimeString()} …`);
    if (entry.file.size > maxBytes) throw new UploadError("This file is larger than this request allows.", { canRetry: false });
    entry.upload ??= await post(`${base}/files`, await declare(entry.file), onPause);
    if (!entry.isStored) {
      show(entry, "Sending …", { isSending: true });
      const code = await put(entry.upload, entry.file, (bytes) => { entry.progress.value = bytes; });
      entry.isStored = code === 200 || code === 412; // 412: an earlier attempt has already stored the file
      if (REFUSED_STATUSES.includes(code)) entry.upload = null;
      if (code === 0) throw new UploadError(NO_CONNECTION);
      if (!entry.isStored) throw new UploadError(`The file was refused (${code}): it has changed, or sending it took too long. Try again.`);
    }
    try {
      await post(`${base}/files/${entry.upload.file_id}/complete`, { guest_token: entry.upload.guest_token }, onPause);
      return RECEIVED;
    } catch (error) {
      if (error.code === SCAN_PENDING) return "Received; the malware scan is running";
      if (LOST_UPLOAD_CODES.includes(error.code)) Object.assign(entry, { upload: null, isStored: false });
      if (error.code === "upload_missing") entry.isStored = false;
      throw error;
    }
  }

  async function send(entry) {
    show(entry, "Sending …", { isSending: true });
    status.textContent = `Sending ${entry.name} …`;
    try {
      const result = await upload(entry);
      entry.isReceived = true;
      show(entry, result);
      entry.receipt.hidden = result !== RECEIVED;
    } catch (error) {
      const isExpected = error instanceof UploadError;
      show(entry, isExpected ? error.message : "Something went wrong. Try again.", { isBad: true, canRetry: !isExpected || error.canRetry });
    }
  }

  /** Save the receipt. The server has it about a minute after the upload. */
  async function saveReceipt(entry) {
    const onPause = () => show(entry, "Received. The receipt will be available in about a minute; it is then saved.");
    entry.receipt.hidden = true;
    try {
      const path = `${base}/files/${entry.upload.file_id}/receipt`;
      const receipt = await post(path, { guest_token: entry.upload.guest_token }, onPause);
      const anchor = document.createElement("a");
      // Compact, with the members in their order: these are the bytes that the server sent, and only these verify.
      anchor.href = URL.createObjectURL(new Blob([JSON.stringify(receipt)], { type: "application/json" }));
      anchor.download = `${entry.name}.receipt.json`;
      anchor.click();
      URL.revokeObjectURL(anchor.href);
      show(entry, "Received. The receipt is saved. Anyone can check it with “we-upload verify”.");
    } catch (error) {
      show(entry, error instanceof UploadError ? error.message : "Something went wrong. Try again.", { isBad: true });
    }
    entry.receipt.hidden = false;
    entry.receipt.focus();
  }

  async function sendAll() {
    if (isSendingAll) return;
    isSendingAll = true;
    while (waiting.length > 0) await send(waiting.shift());
    isSendingAll = false;
    const missing = entries.filter((entry) => !entry.isReceived).map((entry) => entry.name);
    const summary = `Received: ${entries.length - missing.length} of ${entries.length}.`;
    status.textContent = missing.length > 0 ? `${summary} Not received: ${missing.join(", ")}.` : summary;
    const response = await fetch(base, { credentials: "omit", headers: { Accept: "application/json" } }).catch(() => null);
    if (response?.ok) left.textContent = String((await response.json()).files_left);
  }

  function queue(entry) {
    waiting.push(entry);
    show(entry, "Waiting");
    sendAll();
  }

  function show(entry, text, { isSending = false, isBad = false, canRetry = false } = {}) {
    entry.result.textContent = text;
    entry.result.className = isBad ? "result message" : "result";
    entry.progress.hidden = !isSending;
    entry.retry.hidden = !canRetry;
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
    element("bdi", "", element("span", "name", item)).textContent = name;
    element("span", "details", item).textContent = formatSize(file.size);
    const entry = { file, name, upload: null, isStored: false, isReceived: false };
    entry.progress = element("progress", "", item);
    entry.progress.max = Math.max(file.size, 1);
    entry.progress.value = 0;
    entry.progress.setAttribute("aria-label", `Sending ${name}`);
    entry.result = element("p", "result", item);
    entry.retry = element("button", "", item);
    entry.retry.type = "button";
    entry.retry.textContent = "Try again";
    entry.retry.setAttribute("aria-label", `Try again: ${name}`);
    entry.retry.addEventListener("click", () => {
      item.tabIndex = -1;
      item.focus(); // the focused button disappears; keep the focus position
      queue(entry);
    });
    entry.receipt = element("button", "", item);
    entry.receipt.type = "button";
    entry.receipt.hidden = true;
    entry.receipt.textContent = "Download receipt";
    entry.receipt.setAttribute("aria-label", `Download receipt: ${name}`);
    entry.receipt.addEventListener("click", () => {
      item.tabIndex = -1;
      item.focus();
      saveReceipt(entry);
    });
    entries.push(entry);
    return entry;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const files = [...chosen.files];
    form.reset();
    list.hidden = false;
    files.map(makeEntry).forEach(queue);
  });
  addEventListener("beforeunload", (event) => {
    if (isSendingAll) event.preventDefault();
  });
  document.getElementById("without-script").hidden = true;
  form.hidden = false;
})();
