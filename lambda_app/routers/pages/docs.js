"use strict";
// Lists the operations of the OpenAPI document and sends requests to this server. Sets text only; never parses markup.
const byId = (id) => document.getElementById(id);
const root = document.body.dataset.root;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Replaces references by the schemas they name. A schema that contains itself keeps the reference.
function resolve(schema, schemas, seen = []) {
  if (Array.isArray(schema)) return schema.map((item) => resolve(item, schemas, seen));
  if (schema === null || typeof schema !== "object") return schema;
  if (typeof schema.$ref === "string") {
    const name = schema.$ref.split("/").pop();
    return seen.includes(name) ? schema : resolve(schemas[name], schemas, [...seen, name]);
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolve(value, schemas, seen)]));
}

// A body to start from: the required fields, or all fields where none is required.
function example(schema) {
  if (schema.examples) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  if (schema.anyOf) return example(schema.anyOf[0]);
  if (schema.type === "object") {
    const names = schema.required ?? Object.keys(schema.properties ?? {});
    return Object.fromEntries(names.map((name) => [name, example(schema.properties[name])]));
  }
  return { array: [], integer: schema.minimum ?? 0, boolean: false }[schema.type] ?? "";
}

function field(parameter, id) {
  const input = element("input", { id, required: parameter.required === true, spellcheck: false, autocomplete: "off" });
  const label = element("label", { htmlFor: id }, `${parameter.name} (${parameter.in}${parameter.required ? ", required" : ""})`);
  return [input, element("p", {}, label, input, element("p", { className: "hint" }, parameter.description ?? ""))];
}

function show(operation, method, path, schemas, number) {
  const details = element("details", {}, element("summary", {}, element("code", {}, `${method} ${path}`), ` ${operation.summary ?? ""}`));
  details.addEventListener("toggle", () => { if (details.open && details.childElementCount === 1) fill(details, operation, method, path, schemas, number); });
  return details;
}

function fill(details, operation, method, path, schemas, number) {
  const form = element("form");
  const inputs = (operation.parameters ?? []).map((parameter, position) => {
    const [input, row] = field(parameter, `p${number}-${position}`);
    form.append(row);
    return [parameter, input];
  });
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  let body = null;
  if (type) {
    const schema = resolve(content.schema, schemas);
    const isForm = type !== "application/json";
    const start = isForm ? new URLSearchParams(example(schema)).toString() : JSON.stringify(example(schema), null, 2);
    body = element("textarea", { id: `b${number}`, value: operation.requestBody.required ? start : "", spellcheck: false });
    form.append(element("p", {}, element("label", { htmlFor: body.id }, `Body (${type})`), body));
    form.append(element("details", {}, element("summary", {}, "Schema of the body"), element("pre", {}, JSON.stringify(schema, null, 2))));
  }
  const answer = element("pre", { hidden: true, tabIndex: 0 });
  form.append(element("p", {}, element("button", { type: "submit" }, "Send")), answer);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send({ method, path, inputs, body: body?.value, type, answer });
  });
  const statuses = Object.entries(operation.responses ?? {}).map(([status, { description }]) => `${status} ${description}`).join(", ");
  details.append(element("p", {}, operation.description ?? ""), element("p", { className: "hint" }, `Responses: ${statuses}`), form);
}

async function send({ method, path, inputs, body, type, answer }) {
  const query = new URLSearchParams();
  const headers = new Headers();
  for (const [{ name, in: place }, { value }] of inputs) {
    if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value !== "" && place === "query") query.append(name, value);
    else if (value !== "" && place === "header") headers.set(name, value);
  }
  if (byId("token").value) headers.set("Authorization", `Bearer ${byId("token").value}`);
  if (body) headers.set("Content-Type", type);
  answer.hidden = false;
  answer.textContent = "…";
  try {
    const response = await fetch(`${root}${path}${query.toString() && `?${query}`}`, { method, headers, body: body || undefined });
    const text = await response.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON */ }
    answer.textContent = `${response.status} ${response.statusText}\n${[...response.headers].map((pair) => pair.join(": ")).join("\n")}\n\n${shown}`;
  } catch (error) {
    // The policy of this page refuses redirects to the bucket.
    answer.textContent = `The request failed, or the response redirects to another server: ${error.message}`;
  }
}

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch(`${root}/login/token`, {
    method: "POST",
    body: new URLSearchParams({ username: byId("username").value, password: byId("password").value }),
  });
  const answer = await response.json();
  if (response.ok) byId("token").value = answer.access_token;
  byId("status").textContent = response.ok ? "Signed in." : answer.detail;
});

byId("search").addEventListener("input", () => {
  const text = byId("search").value.toLowerCase();
  for (const details of byId("operations").querySelectorAll(":scope > details")) {
    details.hidden = !details.firstElementChild.textContent.toLowerCase().includes(text);
  }
});

fetch(document.body.dataset.openapi).then((response) => response.json()).then((openapi) => {
  let number = 0;
  for (const [path, methods] of Object.entries(openapi.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      byId("operations").append(show(operation, method.toUpperCase(), path, openapi.components.schemas, number++));
    }
  }
}).catch(() => { byId("status").textContent = "The OpenAPI document could not be loaded; reload the page."; });
