// Opens share links in a headless Chromium as people do, and prints what they see, as one JSON object.
//
//   node visit.mjs <jobs.json>   jobs: {name: {url, steps: [{fill | press | follow | download | axe | resize | open, ...}], dark?, script?}}

import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";

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
  const result = { console: [], requests: [], statuses: [], dialogs: 0, downloads: [], axe: [], widths: [] };
  page.on("console", (message) => result.console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => result.console.push(`uncaught: ${error}`));
  page.on("request", (request) => result.requests.push(request.url()));
  page.on("response", (response) => result.statuses.push(response.status()));
  page.on("dialog", (dialog) => { result.dialogs += 1; return dialog.dismiss(); });
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
  } else if (step.axe) {
    await page.addScriptTag({ path: axe });
    const found = await page.evaluate(() => globalThis.axe.run());
    result.axe.push({ violations: found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html)}`), passes: found.passes.length });
  }
}
