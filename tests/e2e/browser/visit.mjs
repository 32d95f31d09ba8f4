// Runs jobs in a headless Chromium, and prints their results as one JSON object.
//
//   node visit.mjs <jobs.json>   jobs: {name: {url, steps: [...], dark?, script?}}
//
// Steps of users: fill, press, follow, download, open, resize; with the keyboard: tab, key, choose (files).
// Other steps: see (wait for a text), progress (read the progress bars), axe (check accessibility), call (send an API request),
// store (let requests to S3 fail, wait or work), busy (let the API return 429 once per URL), frame (show the page in another site's
// frame), attack (try what an injected script could do).

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

// Makes the package also unpack the shared libraries that Chromium needs, for machines without them.
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
const { default: chromiumPackage } = await import("@sparticuz/chromium");
const { chromium } = await import("playwright-core");
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const jobs = JSON.parse(await readFile(process.argv[2], "utf8"));
const browser = await chromium.launch({ executablePath: await chromiumPackage.executablePath(), args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const results = {};
for (const [name, job] of Object.entries(jobs)) {
  results[name] = await visit(job).catch((error) => ({ failed: String(error) }));
}
await browser.close();
process.stdout.write(JSON.stringify(results));

async function visit(job) {
  const context = await browser.newContext({
    acceptDownloads: true,
    // The page's content security policy would block the script that checks accessibility.
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
  // Playwright enables file choosers only when there is a listener, and asynchronously: a listener added later could be too late.
  page.on("filechooser", () => {});
  await page.goto(job.url);
  for (const step of job.steps) {
    await runStep(step, page, result);
  }
  result.title = await page.title();
  result.text = job.script === false ? await page.content() : await page.innerText("body");
  result.path = new URL(page.url()).pathname;
  await context.close();
  return result;
}

async function runStep(step, page, result) {
  if (step.fill) {
    await page.getByLabel(step.fill, { exact: true }).fill(step.value);
  } else if (step.press) {
    await Promise.all([page.waitForNavigation(), page.getByRole("button", { name: step.press }).click()]);
  } else if (step.download) {
    // The zip is built first, while its page refreshes.
    const options = { timeout: 40_000 };
    const link = page.getByRole("link", { name: step.download });
    const [download] = await Promise.all([page.waitForEvent("download", options), link.click(options)]);
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
    const response = await fetch(step.call, { method: step.method, headers: step.headers });
    if (!response.ok) throw new Error(`${step.method}: ${response.status}`);
  } else if (step.store) {
    const address = /X-Amz-Signature/;
    await page.unroute(address);
    if (step.store === "fail") await page.route(address, (route) => route.abort("connectionreset"));
    if (step.store === "wait") await page.route(address, () => {});
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
    await page.addScriptTag({ path: axe });
    const report = await page.evaluate(() => globalThis.axe.run());
    result.axe.push({ violations: report.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html)}`), passes: report.passes.length });
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
