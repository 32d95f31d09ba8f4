// Runs jobs in a headless Chromium, and prints their results as one JSON object.
//
//   node visit.mjs <jobs.json>   jobs: {name: {url, steps: [...], dark?, script?, width?, keepsPolicy?, storage?, cpuSlowdown?, canSleep?, withoutLocks?}}
//
// Steps of users: select (an option of a list), fill, press, follow, download, open, resize; with the keyboard: tab, key, choose (files).
// At the test's OpenID provider: provider (sign in and agree).
// Other steps: see (wait for a text), progress (read the progress bars), axe (check accessibility), call (send an API request),
// store (let requests to S3, or those with an `address`, fail, wait or work), stored (wait until S3 has stored n bodies), busy (let the API return 429 once per URL), place (note how far a navigation is from the left), frame (show the page in another site's
// frame), attack (try what an injected script could do).
// sleep (move the clock of the page on by n days), together (reload, and open in a second tab, so that both send the request at this address at once), lose (let
// the server answer the next request at this address, and lose the answer), openFrom (open the address that a request to the test returns),
// picture (wait until the picture with this selector has loaded).
// Steps for the web app, which changes screens without a navigation: click (role, within), check, type, upload (files by the mouse), gone (wait until
// a text has gone), focused (wait until a field or the row of a file has the focus), idle (wait until nothing loads), reload, secondTab (steps in a new tab of the same browser), visitor (steps at the address in a field, in another browser),
// newTab (close the tab at once, and run steps in a new one), network (off or on), refuse (answer requests with an error), uploadFolder, paste, drop,
// append (change a file on the disk), slow (limit uploads to n bytes per second), sent (wait until all uploads together have reached n percent), time (begin or end a measurement), plain (measure a loop of fetch that sends the parts of a file), shot (save a screenshot). A file has `base64`, or `size` for a large one; with `isKept`, it is the one that an earlier step made.

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { appendFile, mkdir, open, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:http";

// Makes the package also unpack the shared libraries that Chromium needs, for machines without them.
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
const { default: chromiumPackage } = await import("@sparticuz/chromium");
const { chromium } = await import("playwright-core");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const axeSource = await readFile(axe, "utf8");

const jobs = JSON.parse(await readFile(process.argv[2], "utf8"));
const browser = await chromium.launch({ executablePath: await chromiumPackage.executablePath(), args: ["--no-sandbox", "--disable-dev-shm-usage"] });
/** How long a step may take on a busy machine. */
const STEP_MS = 45_000;
const results = {};
for (const [name, job] of Object.entries(jobs)) {
  const startedAt = performance.now();
  results[name] = await visit(job).catch((error) => ({ failed: String(error) }));
  results[name].seconds = (performance.now() - startedAt) / 1000;
}
await browser.close();
process.stdout.write(JSON.stringify(results));

async function visit(job) {
  const context = await browser.newContext({
    acceptDownloads: true,
    // The page's content security policy would block the script that checks accessibility; the debugger may run it all the same.
    bypassCSP: !job.keepsPolicy && job.steps.some((step) => step.axe),
    colorScheme: job.dark ? "dark" : "light",
    javaScriptEnabled: job.script ?? true,
    ...(job.width && { viewport: { width: job.width, height: job.height ?? 800 } }),
  });
  context.setDefaultTimeout(STEP_MS);
  const page = await context.newPage();
  const result = { console: [], requests: [], referrers: [], statuses: [], dialogs: 0, downloads: [], axe: [], widths: [], progress: [], times: {}, marks: [], places: [], stored: 0, interactive: null };
  watch(page, result);
  if (job.storage) await page.addInitScript((entries) => entries.forEach(([name, value]) => localStorage.setItem(name, value)), Object.entries(job.storage));
  if (job.canSleep) await page.addInitScript(() => { const now = Date.now; Date.now = () => now() + (globalThis.sleptMs ?? 0); });
  if (job.withoutLocks) await context.addInitScript(() => { delete Navigator.prototype.locks; });
  if (job.cpuSlowdown) await slowDown(page, job.cpuSlowdown);
  await page.goto(job.url);
  for (const step of job.steps) {
    await runStep(step, page, result).catch(async (error) => {
      throw new Error(`${JSON.stringify(step).slice(0, 200)}: ${error}\n${result.console.join("\n")}\n${await page.innerText("body")}`);
    });
  }
  if (job.cpuSlowdown) result.interactive = await page.evaluate(() => globalThis.interactiveAt);
  // A step may have closed the page.
  if (page.isClosed()) return context.close().then(() => result);
  result.title = await page.title();
  result.text = job.script === false ? await page.content() : await page.innerText("body");
  result.path = new URL(page.url()).pathname;
  await context.close();
  return result;
}

function watch(page, result) {
  page.on("console", (message) => result.console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => result.console.push(`uncaught: ${error}`));
  page.on("request", (request) => result.requests.push(request.url()));
  page.on("request", (request) => result.referrers.push(...[request.headers().referer].filter(Boolean)));
  page.on("response", (response) => result.statuses.push(response.status()));
  page.on("response", (response) => {
    if (response.ok() && response.request().method() === "PUT" && response.url().includes("X-Amz-Signature")) result.stored += 1;
  });
  page.on("dialog", (dialog) => {
    // The question of a page with an upload in progress. Dismissed, it would stop a reload.
    if (dialog.type() === "beforeunload") return dialog.accept();
    result.dialogs += 1;
    return dialog.dismiss();
  });
  // Playwright enables file choosers only when there is a listener, and asynchronously: a listener added later could be too late.
  page.on("filechooser", () => {});
}

async function runStep(step, page, result) {
  if (step.fill) {
    await (step.within ? page.getByRole(step.within) : page).getByLabel(step.fill, { exact: true }).fill(step.value);
  } else if (step.press) {
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name: step.press }).click()]);
  } else if (step.download) {
    // The zip is built first, while its page refreshes.
    const options = { timeout: 2 * STEP_MS };
    const link = page.getByRole(step.role ?? "link", { name: step.download });
    const [download] = await Promise.all([page.waitForEvent("download", options), link.click(options)]);
    const bytes = await readFile(await download.path());
    const text = step.isText ? { text: bytes.toString("utf8") } : {};
    result.downloads.push({ name: download.suggestedFilename(), sha256: createHash("sha256").update(bytes).digest("hex"), ...text });
  } else if (step.follow) {
    await Promise.all([page.waitForNavigation(), page.getByRole("link", { name: step.follow }).click()]);
  } else if (step.open) {
    await page.goto(step.open);
  } else if (step.resize) {
    await page.setViewportSize({ width: step.resize, height: 800 });
    result.widths.push(await page.evaluate(() => document.documentElement.scrollWidth));
  } else if (step.tab) {
    await tabTo(named(page, step.tab, step.role), page);
  } else if (step.key) {
    await page.keyboard.press(step.key);
  } else if (step.choose) {
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
    await chooser.setFiles(await chosenFiles(step.choose));
  } else if (step.provider) {
    await signInAtProvider(page, step.provider);
  } else if (step.check) {
    await page.getByLabel(step.check, { exact: true }).check();
  } else if (step.click) {
    await target(step, page).click();
  } else if (step.type) {
    await page.keyboard.type(step.type);
  } else if (step.upload) {
    const button = page.getByRole("button", { name: step.upload, exact: true }).locator("visible=true").first();
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), button.click()]);
    await chooser.setFiles(await chosenFiles(step.files));
  } else if (step.focused) {
    await page.waitForFunction((name) => {
      const active = document.activeElement;
      return active?.labels?.[0]?.textContent === name || (active?.matches("[id^='row-']") && active.textContent.includes(name));
    }, step.focused);
  } else if (step.idle) {
    await page.waitForLoadState("networkidle");
  } else if (step.gone) {
    await page.getByText(step.gone).first().waitFor({ state: "hidden" });
  } else if (step.reload) {
    await page.reload();
  } else if (step.secondTab) {
    await inPage(await page.context().newPage(), page.url(), step.secondTab, result);
  } else if (step.visitor) {
    const context = await page.context().browser().newContext({ acceptDownloads: true });
    await inPage(await context.newPage(), await page.getByLabel(step.visitor, { exact: true }).inputValue(), step.steps, result);
    await context.close();
  } else if (step.slow) {
    await setNetwork(page, { uploadThroughput: step.slow });
  } else if (step.network) {
    await setNetwork(page, { offline: step.network === "off" });
  } else if (step.uploadFolder) {
    const folder = await writeFiles(step.uploadFolder, step.files);
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("menuitem", { name: step.item }).click()]);
    await chooser.setFiles(folder);
  } else if (step.paste || step.drop) {
    await page.evaluate(give, step.paste ? { type: "paste", files: step.paste } : { type: "drop", files: step.drop });
  } else if (step.append) {
    // The browser reads a chosen file again for each part.
    await appendFile(join(tmpdir(), step.append), "changed");
  } else if (step.refuse) {
    await refuse(page, step.refuse);
  } else if (step.newTab) {
    // Without the questions of a page that is closed in an orderly way.
    const tab = await page.context().newPage();
    result.marks.push(result.requests.length);
    await page.close({ runBeforeUnload: false });
    await inPage(tab, step.newTab, step.steps, result);
  } else if (step.sent) {
    await page.waitForFunction((percent) => (document.querySelector("progress.thick")?.value ?? 0) >= percent, step.sent, { timeout: step.timeout ?? STEP_MS });
  } else if (step.time) {
    const times = (result.times[step.time] ??= []);
    if (times.startedAt === undefined) times.startedAt = performance.now();
    else {
      times.push((performance.now() - times.startedAt) / 1000);
      times.startedAt = undefined;
    }
  } else if (step.plain) {
    const input = await page.evaluateHandle(() => document.body.appendChild(Object.assign(document.createElement("input"), { type: "file", hidden: true })));
    await input.setInputFiles(await chosenFiles([step.plain.file]));
    (result.times.plain ??= []).push(await input.evaluate(sendPlainly, step.plain));
    await input.evaluate((element) => element.remove());
  } else if (step.shot) {
    await page.screenshot({ path: step.shot, animations: "disabled" });
  } else if (step.see) {
    await (step.role ? named(page, step.see, step.role) : page.getByText(step.see)).first().waitFor({ timeout: step.timeout ?? STEP_MS });
  } else if (step.picture) {
    await page.waitForFunction((selector) => document.querySelector(selector)?.naturalWidth > 0, step.picture);
  } else if (step.progress) {
    result.progress = await page.locator("progress").evaluateAll((bars) => bars.map((bar) => [bar.value, bar.max]));
  } else if (step.call) {
    const response = await fetch(step.call, { method: step.method, headers: step.headers });
    if (!response.ok) throw new Error(`${step.method}: ${response.status}`);
  } else if (step.select) {
    await page.getByLabel(step.select, { exact: true }).selectOption({ label: step.option });
  } else if (step.openFrom) {
    await page.goto(await (await fetch(step.openFrom, { method: "POST" })).text());
  } else if (step.sleep) {
    await page.evaluate((days) => { globalThis.sleptMs = (globalThis.sleptMs ?? 0) + days * 86_400_000; }, step.sleep);
  } else if (step.together) {
    await openTogether(step, page, result);
  } else if (step.lose) {
    await page.route(new RegExp(step.lose), async (route) => {
      const request = route.request();
      // Not by the browser, which would keep the cookie of the answer.
      const response = await fetch(request.url(), { method: request.method(), headers: await request.allHeaders(), body: request.postData() });
      if (!response.ok) throw new Error(`the lost answer is ${response.status}`);
      await route.abort("connectionreset");
    }, { times: 1 });
  } else if (step.store) {
    const address = new RegExp(step.address ?? "X-Amz-Signature");
    await page.unroute(address);
    if (step.store === "fail") await page.route(address, (route) => route.abort("connectionreset"));
    if (step.store === "wait") await page.route(address, () => {});
  } else if (step.stored) {
    for (const endsAt = Date.now() + STEP_MS; result.stored < step.stored; await new Promise((resolve) => { setTimeout(resolve, 50); })) {
      if (Date.now() > endsAt) throw new Error(`only ${result.stored} bodies were stored`);
    }
  } else if (step.busy) {
    // The first request to each URL gets 429.
    const refused = new Set();
    await page.route(/\/r\/[^/]+\/files/, (route) => {
      const address = route.request().url();
      if (refused.has(address)) return route.continue();
      refused.add(address);
      const problem = { detail: "Not now", code: step.busy };
      return route.fulfill({ status: 429, headers: { "Retry-After": "2" }, contentType: "application/problem+json", body: JSON.stringify(problem) });
    });
  } else if (step.place) {
    const box = await page.getByRole("navigation", { name: step.place }).locator("visible=true").first().boundingBox();
    result.places.push(box.x / page.viewportSize().width);
  } else if (step.frame) {
    // The other site runs on 127.0.0.1 too: Chromium blocks frames of local addresses in pages from elsewhere.
    const foreign = createServer((_, response) => response.setHeader("Content-Type", "text/html").end(`<iframe src="${step.frame}"></iframe>`));
    await new Promise((resolve) => { foreign.listen(0, "127.0.0.1", resolve); });
    await page.goto(`http://127.0.0.1:${foreign.address().port}/`, { waitUntil: "load" });
    const frame = await (await page.locator("iframe").elementHandle()).contentFrame();
    result.framed = [frame.url(), await frame.innerText("body")];
    foreign.close();
  } else if (step.attack) {
    result.attack = await page.evaluate(attack, step.attack);
  } else if (step.axe) {
    // A page that is still fading in has less contrast than the page that people read.
    await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((one) => one.effect?.getComputedTiming().iterations !== Infinity).map((one) => one.finished)));
    await page.evaluate(axeSource);
    const report = await page.evaluate(() => globalThis.axe.run());
    result.axe.push({ violations: report.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html)}`), passes: report.passes.length });
  }
}

/** Sign in at the test's OpenID provider, and agree. */
async function signInAtProvider(page, login) {
  await page.waitForURL(/\/\/localhost:/);
  while (page.url().includes("//localhost:")) {
    const field = page.locator('input[name="login"]');
    const button = page.getByRole("button", { name: /^(Sign-in|Continue)$/ });
    await button.waitFor();
    if (await field.isVisible()) {
      await field.fill(login);
      await page.locator('input[name="password"]').fill("any password");
    }
    await Promise.all([page.waitForNavigation(), button.click()]);
  }
}

/** Reload the page and open it in a second tab; their requests at the address leave when both tabs have made one. */
async function openTogether({ together, steps }, page, result) {
  const address = new RegExp(together), waiting = [];
  const other = await page.context().newPage();
  watch(other, result);
  await page.context().route(address, async (route) => {
    if (waiting.push(route) === 2) await Promise.all(waiting.map((one) => one.continue()));
  });
  await Promise.all([page.reload(), other.goto(page.url())]);
  for (const step of steps) {
    await runStep(step, page, result);
    await runStep(step, other, result);
  }
  await page.context().unroute(address);
  await other.close();
}

async function setNetwork(page, conditions) {
  const debug = await page.context().newCDPSession(page);
  await debug.send("Network.enable");
  await debug.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1, ...conditions });
}

/** Slow the processor down, and note when the first field can be filled in: milliseconds after the navigation began. */
async function slowDown(page, rate) {
  const debug = await page.context().newCDPSession(page);
  await debug.send("Emulation.setCPUThrottlingRate", { rate });
  await page.addInitScript(() => {
    const check = () => {
      if (document.activeElement?.tagName === "INPUT") globalThis.interactiveAt = performance.now();
      else requestAnimationFrame(check);
    };
    requestAnimationFrame(check);
  });
}

/** Answer the first `times` requests whose address and method match with this status, as the server would; the later ones pass. */
async function refuse(page, { address, method, status, code, times, retryAfter }) {
  let left = times;
  await page.route(new RegExp(address), (route) => {
    if (left === 0 || route.request().method() !== method) return route.continue();
    left -= 1;
    const headers = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*", ...(retryAfter && { "Retry-After": String(retryAfter) }) };
    const isXml = address.includes("X-Amz");
    const body = isXml ? `<?xml version="1.0"?><Error><Code>${code}</Code></Error>` : JSON.stringify({ code, status, detail: "Refused", title: "Refused" });
    return route.fulfill({ status, headers, contentType: isXml ? "application/xml" : "application/problem+json", body });
  });
}

/** Paste or drop files into the page. */
function give({ type, files }) {
  const transfer = new DataTransfer();
  for (const { name, type: mediaType, base64 } of files) {
    transfer.items.add(new File([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], name, { type: mediaType }));
  }
  const init = { bubbles: true, cancelable: true };
  if (type === "paste") return document.body.dispatchEvent(new ClipboardEvent("paste", { ...init, clipboardData: transfer }));
  for (const event of ["dragenter", "dragover", "drop"]) document.body.dispatchEvent(new DragEvent(event, { ...init, dataTransfer: transfer }));
}

/** Write files, by their paths, below a new folder. */
async function writeFiles(name, files) {
  const folder = join(tmpdir(), name);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  return folder;
}

async function inPage(page, url, steps, result) {
  page.context().setDefaultTimeout(STEP_MS);
  watch(page, result);
  await page.goto(url);
  for (const step of steps) {
    await runStep(step, page, result).catch(async (error) => {
      throw new Error(`${JSON.stringify(step).slice(0, 200)}: ${error}\n${await page.innerText("body")}`);
    });
  }
  await page.close();
}

/** Send a file by nothing but fetch and presigned URLs; return the seconds from the first request to the verified file. */
async function sendPlainly(input, { url, headers, lanes }) {
  const [file] = input.files;
  const call = async (path, body) => {
    const response = await fetch(`${url}/api/v1/files/${path}`, { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.json();
  };
  const upload = await call("multipart", { filename: file.name, content_type: "application/octet-stream", size_bytes: file.size, has_part_digests: false });
  const numbers = Array.from({ length: upload.part_count }, (_, index) => ({ number: index + 1 }));
  const parts = [];
  for (let start = 0; start < numbers.length; start += 100) parts.push(...(await call(`${upload.file_id}/parts`, { parts: numbers.slice(start, start + 100) })).parts);
  const startedAt = performance.now();
  const lane = async () => {
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      const body = file.slice((part.number - 1) * upload.part_size_bytes, part.number * upload.part_size_bytes);
      const kept = Object.entries(part.headers).filter(([name]) => name.toLowerCase() !== "content-length");
      const response = await fetch(part.upload_url, { method: part.method, headers: kept, body });
      if (!response.ok) throw new Error(`part ${part.number}: ${response.status}`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  // Joining the parts may take the store longer than the API waits for it.
  for (let tries = 1; ; tries++) {
    const isComplete = await call(`${upload.file_id}/complete`, {}).then(() => true, () => false);
    if (isComplete) break;
    if (tries === 20) throw new Error("the upload was not completed");
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
  return (performance.now() - startedAt) / 1000;
}

function target({ click, role, within }, page) {
  return (within ? page.getByRole(within) : page).getByRole(role ?? "button", { name: click, exact: true }).locator("visible=true").first();
}

/** Return what a file chooser takes: contents, or paths of large files. */
async function chosenFiles(files) {
  return Promise.all(
    files.map(async ({ name, type, base64, size, isKept }) => {
      if (size === undefined) return { name, mimeType: type, buffer: Buffer.from(base64, "base64") };
      // A chooser takes only small files by their content.
      const path = join(tmpdir(), name);
      if (isKept) return path;
      const file = await open(path, "w");
      await file.truncate(size);
      await file.close();
      return path;
    }),
  );
}

function named(page, name, role) {
  return role ? page.getByRole(role, { name, exact: true }) : page.getByLabel(name, { exact: true });
}

async function tabTo(target, page) {
  for (let presses = 0; presses < 30; presses += 1) {
    await page.keyboard.press("Tab");
    if (await target.evaluate((element) => element === document.activeElement)) return;
  }
  throw new Error(`The keyboard does not reach ${target}`);
}

/** Tries what an injected script could do; returns the blocked attempts, the violated directives, and whether a script ran. */
async function attack({ store, elsewhere }) {
  const violated = new Set();
  document.addEventListener("securitypolicyviolation", (event) => violated.add(event.effectiveDirective));
  const attempts = {
    markup: () => { document.body.innerHTML += "<b>markup</b>"; },
    script: () => { document.body.append(Object.assign(document.createElement("script"), { text: "globalThis.hasRun = true" })); },
    module: () => import("data:text/javascript,globalThis.hasRun = true"),
    words: () => new Function("globalThis.hasRun = true")(),
    style: () => { document.body.append(Object.assign(document.createElement("style"), { textContent: "body { color: red }" })); },
    picture: () => { document.body.append(Object.assign(new Image(), { src: `${store}/picture` })); },
    elsewhere: () => fetch(elsewhere, { mode: "no-cors" }),
    store: () => fetch(`${store}/nothing`, { mode: "no-cors" }),
  };
  const refused = [];
  for (const [name, attempt] of Object.entries(attempts)) {
    try { await attempt(); } catch { refused.push(name); }
  }
  await new Promise((resolve) => { setTimeout(resolve, 200); });
  return { refused, violated: [...violated].sort(), hasRun: globalThis.hasRun ?? false };
}
