// Opens links in a headless Chromium as people do, and prints what they see, as one JSON object.
//
//   node visit.mjs <jobs.json>   jobs: {name: {url, steps: [...], dark?, script?}}
//
// Steps: fill | press | follow | download | axe | resize | open; without a mouse: tab, key, choose (files); see, call (a program's
// request), store (what becomes of requests to it), busy (what becomes of those to us), frame (the page in another's), attack (what a foreign script would try).

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

// Makes the package unpack the shared libraries too that it needs, for machines without them.
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
const { default: packed } = await import("@sparticuz/chromium");
const { chromium } = await import("playwright-core");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const jobs = JSON.parse(await readFile(process.argv[2], "utf8"));
const browser = await chromium.launch({ executablePath: await packed.executablePath(), args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const seen = {};
for (const [name, job] of Object.entries(jobs)) {
  seen[name] = await visit(job).catch((error) => ({ failed: String(error) }));
}
await browser.close();
process.stdout.write(JSON.stringify(seen));

async function visit(job) {
  const context = await browser.newContext({
    acceptDownloads: true,
    // The check of accessibility is a script of ours; the page's own policy would refuse it.
    bypassCSP: job.steps.some((step) => step.axe),
    colorScheme: job.dark ? "dark" : "light",
    javaScriptEnabled: job.script ?? true,
  });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const result = { console: [], requests: [], referrers: [], statuses: [], dialogs: 0, downloads: [], axe: [], widths: [], progress: [] };
  page.on("console", (message) => result.console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => result.console.push(`uncaught: ${error}`));
  page.on("request", (request) => result.requests.push(request.url()));
  page.on("request", (request) => result.referrers.push(...[request.headers().referer].filter(Boolean)));
  page.on("response", (response) => result.statuses.push(response.status()));
  page.on("dialog", (dialog) => { result.dialogs += 1; return dialog.dismiss(); });
  // Who waits for one tells the browser so, which may come later than the key that opens it.
  page.on("filechooser", () => {});
  await page.goto(job.url);
  for (const step of job.steps) {
    await take(step, page, result);
  }
  result.title = await page.title();
  result.text = job.script === false ? await page.content() : await page.innerText("body");
  result.path = new URL(page.url()).pathname;
  await context.close();
  return result;
}

async function take(step, page, result) {
  if (step.fill) {
    await page.getByLabel(step.fill, { exact: true }).fill(step.value);
  } else if (step.press) {
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name: step.press }).click()]);
  } else if (step.download) {
    // A zip has to be made first, while its page refreshes.
    const patience = { timeout: 40_000 };
    const link = page.getByRole("link", { name: step.download });
    const [download] = await Promise.all([page.waitForEvent("download", patience), link.click(patience)]);
    const bytes = await readFile(await download.path());
    result.downloads.push({ name: download.suggestedFilename(), sha256: createHash("sha256").update(bytes).digest("hex") });
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
    const files = step.choose.map(({ name, type, base64 }) => ({ name, mimeType: type, buffer: Buffer.from(base64, "base64") }));
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
    await chooser.setFiles(files);
  } else if (step.see) {
    await (step.role ? named(page, step.see, step.role) : page.getByText(step.see)).first().waitFor();
  } else if (step.progress) {
    result.progress = await page.locator("progress").evaluateAll((bars) => bars.map((bar) => [bar.value, bar.max]));
  } else if (step.call) {
    const answer = await fetch(step.call, { method: step.method, headers: step.headers });
    if (!answer.ok) throw new Error(`${step.method}: ${answer.status}`);
  } else if (step.store) {
    const address = /X-Amz-Signature/;
    await page.unroute(address);
    if (step.store === "fail") await page.route(address, (route) => route.abort("connectionreset"));
    if (step.store === "wait") await page.route(address, () => {});
  } else if (step.busy) {
    // What is asked of us is put off, once for each address.
    const met = new Set();
    await page.route(/\/r\/[^/]+\/files/, (route) => {
      const address = route.request().url();
      if (met.has(address)) return route.continue();
      met.add(address);
      const answer = { detail: "Not now", code: step.busy };
      return route.fulfill({ status: 429, headers: { "Retry-After": "2" }, contentType: "application/problem+json", body: JSON.stringify(answer) });
    });
  } else if (step.frame) {
    // A site of another's, on this machine too: pages from elsewhere may not frame any of it anyway.
    const foreign = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end(`<iframe src="${step.frame}"></iframe>`));
    await new Promise((resolve) => { foreign.listen(0, "127.0.0.1", resolve); });
    await page.goto(`http://127.0.0.1:${foreign.address().port}/`, { waitUntil: "load" });
    const frame = await (await page.locator("iframe").elementHandle()).contentFrame();
    result.framed = [frame.url(), await frame.innerText("body")];
    foreign.close();
  } else if (step.attack) {
    result.attack = await page.evaluate(attack, step.attack);
  } else if (step.axe) {
    await page.addScriptTag({ path: axe });
    const found = await page.evaluate(() => globalThis.axe.run());
    result.axe.push({ violations: found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html)}`), passes: found.passes.length });
  }
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

/** What a script would try that had got into the page; returns what the page's policy said of it, and what it got. */
async function attack({ store, elsewhere }) {
  const violated = new Set();
  document.addEventListener("securitypolicyviolation", (event) => violated.add(event.effectiveDirective));
  const tries = {
    markup: () => { document.body.innerHTML += "<b id=made>markup</b>"; },
    script: () => { document.body.append(Object.assign(document.createElement("script"), { text: "globalThis.hasRun = true" })); },
    module: () => import("data:text/javascript,globalThis.hasRun = true"),
    words: () => new Function("globalThis.hasRun = true")(),
    style: () => { document.body.append(Object.assign(document.createElement("style"), { textContent: "body { color: red }" })); },
    picture: () => { document.body.append(Object.assign(new Image(), { src: `${store}/picture` })); },
    elsewhere: () => fetch(elsewhere, { mode: "no-cors" }),
    store: () => fetch(`${store}/nothing`, { mode: "no-cors" }),
  };
  const refused = [];
  for (const [name, attempt] of Object.entries(tries)) {
    try { await attempt(); } catch { refused.push(name); }
  }
  await new Promise((resolve) => { setTimeout(resolve, 200); });
  return { refused, violated: [...violated].sort(), hasRun: globalThis.hasRun ?? false };
}
