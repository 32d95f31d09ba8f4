"use strict";
(() => {
  const HASHED_MAX_BYTES = 64 * 1024 * 1024; // the digest wants the whole file in memory
  const MEDIA_TYPE = /^[\w!#$%&'+.^`|~-]+\/[\w!#$%&'+.^`|~-]+$/;
  const NO_CONNECTION = "The connection failed, or the file has changed since you chose it. Try again.";
  const REFUSED = [400, 403]; // the store's words for: these bytes never, or this address no more
  const LOST = ["upload_rejected", "file_not_available", "not_found"]; // of an upload: another try must begin anew
  const CHECKED = "upload_withheld"; // it has arrived, and is looked at before its owner may have it
  const PATIENCE_SECONDS = { [CHECKED]: 30 };
  const LONGEST_PATIENCE_SECONDS = 3600; // for a turn, where others have sent much from here
  const HOPELESS = ["file_too_large", "content_type_refused", "malformed_request"];

  const [form, chosen, status, list, left] = ["form", "chosen", "status", "sent", "left"].map((id) => document.getElementById(id));
  const base = location.pathname;
  const maxBytes = Number(form.dataset.maxSizeBytes);
  const entries = [];
  const waiting = [];
  let isWorking = false;

  /** What a person is told of a failure; without `mayRetry` another try cannot help. */
  class Refusal extends Error {
    constructor(text, { code = "", mayRetry = true } = {}) {
      super(text);
      this.code = code;
      this.mayRetry = mayRetry;
    }
  }

  /** Ask the API; where its refusal says when to come again, do so, and tell `onPause` of the time. */
  async function ask(path, body, onPause) {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    for (let waited = 0; ;) {
      let answer;
      try {
        answer = await fetch(path, { method: "POST", credentials: "omit", headers, body: JSON.stringify(body) });
      } catch {
        throw new Refusal(NO_CONNECTION);
      }
      const told = await answer.json().catch(() => null);
      if (answer.ok && told !== null) return told;
      const code = told?.code ?? "";
      const pause = Number(answer.headers.get("Retry-After"));
      waited += pause;
      if (!(pause > 0 && waited <= (PATIENCE_SECONDS[code] ?? LONGEST_PATIENCE_SECONDS))) {
        throw new Refusal(explained(answer.status, told), { code, mayRetry: !HOPELESS.includes(code) });
      }
      onPause(new Date(Date.now() + pause * 1000));
      await new Promise((resolve) => { setTimeout(resolve, pause * 1000); });
    }
  }

  function explained(status, problem) {
    if (status === 404) return "This link is not open any more.";
    if (typeof problem?.detail !== "string") return `The server did not answer as expected (${status}). Try again.`;
    const fields = Array.isArray(problem.errors) ? problem.errors.map((error) => `${error.loc.at(-1)}: ${error.msg}`) : [];
    return [problem.detail, ...fields].join(". ");
  }

  async function declared(file) {
    const told = {
      filename: file.name,
      content_type: MEDIA_TYPE.test(file.type) ? file.type : "application/octet-stream",
      size_bytes: file.size,
    };
    if (globalThis.crypto?.subtle && file.size <= HASHED_MAX_BYTES) {
      const bytes = await file.arrayBuffer().catch(() => {
        throw new Refusal("This file cannot be read. Choose it again.", { mayRetry: false });
      });
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
      told.sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return told;
  }

  /** Return the store's status, or 0 if there was no answer. */
  function put(upload, file, onProgress) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open(upload.method, upload.upload_url);
      for (const [name, value] of Object.entries(upload.headers)) {
        // The browser itself says how long the body is, and lets no script say it.
        if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value);
      }
      request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
      request.addEventListener("loadend", () => resolve(request.status));
      request.send(file);
    });
  }

  // What was reached stays in the entry: another try goes on from there, and takes no second place of the request unless the answer with the
  // first one was lost, or its time is over. Returns what became of the file.
  async function deliver(entry) {
    const onPause = (until) => show(entry, `Waiting until ${until.toLocaleTimeString()} …`);
    if (entry.file.size > maxBytes) throw new Refusal("This file is larger than this request takes.", { mayRetry: false });
    entry.upload ??= await ask(`${base}/files`, await declared(entry.file), onPause);
    if (!entry.isStored) {
      show(entry, "Sending …", { isSending: true });
      const code = await put(entry.upload, entry.file, (bytes) => { entry.progress.value = bytes; });
      entry.isStored = code === 200 || code === 412; // 412: an earlier try has arrived after all
      if (REFUSED.includes(code)) entry.upload = null;
      if (code === 0) throw new Refusal(NO_CONNECTION);
      if (!entry.isStored) throw new Refusal(`The store did not take the file (${code}): it has changed, or sending it took too long. Try again.`);
    }
    try {
      await ask(`${base}/files/${entry.upload.file_id}/complete`, { guest_token: entry.upload.guest_token }, onPause);
      return "Received";
    } catch (error) {
      if (error.code === CHECKED) return "Received; it is being checked";
      if (LOST.includes(error.code)) Object.assign(entry, { upload: null, isStored: false });
      if (error.code === "upload_missing") entry.isStored = false;
      throw error;
    }
  }

  async function send(entry) {
    show(entry, "Sending …", { isSending: true });
    status.textContent = `Sending ${entry.name} …`;
    try {
      const outcome = await deliver(entry);
      entry.hasArrived = true;
      show(entry, outcome);
    } catch (error) {
      const isForeseen = error instanceof Refusal;
      show(entry, isForeseen ? error.message : "Something went wrong. Try again.", { isBad: true, mayRetry: !isForeseen || error.mayRetry });
    }
  }

  async function work() {
    if (isWorking) return;
    isWorking = true;
    while (waiting.length > 0) await send(waiting.shift());
    isWorking = false;
    const missing = entries.filter((entry) => !entry.hasArrived).map((entry) => entry.name);
    const sum = `Received: ${entries.length - missing.length} of ${entries.length}.`;
    status.textContent = missing.length > 0 ? `${sum} Not received: ${missing.join(", ")}.` : sum;
    const answer = await fetch(base, { credentials: "omit", headers: { Accept: "application/json" } }).catch(() => null);
    if (answer?.ok) left.textContent = String((await answer.json()).files_left);
  }

  function queue(entry) {
    waiting.push(entry);
    show(entry, "Waiting");
    work();
  }

  function show(entry, text, { isSending = false, isBad = false, mayRetry = false } = {}) {
    entry.result.textContent = text;
    entry.result.className = isBad ? "result message" : "result";
    entry.progress.hidden = !isSending;
    entry.retry.hidden = !mayRetry;
  }

  /** As the page has its limit. */
  function sized(bytes) {
    const power = Math.max(0, Math.min(3, Math.floor(Math.log2(bytes || 1) / 10)));
    return power === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** power).toFixed(1)} ${["KiB", "MiB", "GiB"][power - 1]}`;
  }

  function element(tag, className, parent) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    parent.append(made);
    return made;
  }

  function makeEntry(file) {
    const item = element("li", "", list);
    // Without the marks that turn text round.
    const name = file.name.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");
    element("bdi", "", element("span", "name", item)).textContent = name;
    element("span", "details", item).textContent = sized(file.size);
    const entry = { file, name, upload: null, isStored: false, hasArrived: false };
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
      item.focus(); // the button goes, and a reader's place with it
      queue(entry);
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
    if (isWorking) event.preventDefault();
  });
  document.getElementById("unscripted").hidden = true;
  form.hidden = false;
})();
