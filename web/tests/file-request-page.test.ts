/** The script of the page of file requests, on a page and a server in memory: cancelled uploads free their place. */

import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

const SCRIPT = new URL("../../lambda_app/routers/pages/file_request.js", import.meta.url);
const PART_BYTES = 8 * 1024 ** 2;

/** As much of an element as the script uses. */
class FakeElement {
  readonly dataset: Record<string, string> = { maxSizeBytes: String(1024 ** 3) };
  children: FakeElement[] = [];
  readonly listeners = new Map<string, (event: unknown) => void>();
  readonly attributes = new Map<string, string>();
  readonly classList = { toggle: () => undefined };
  className = "";
  hidden = false;
  textContent = "";
  files: readonly File[] = [];

  get firstChild(): FakeElement | undefined {
    return this.children[0];
  }
  get lastChild(): FakeElement | undefined {
    return this.children.at(-1);
  }
  get lastElementChild(): FakeElement | undefined {
    return this.children.at(-1);
  }
  /** The element and all below it. */
  get all(): FakeElement[] {
    return [this, ...this.children.flatMap((child) => child.all)];
  }
  append(...children: FakeElement[]): void {
    this.children.push(...children);
  }
  replaceChildren(...children: FakeElement[]): void {
    this.children = children;
  }
  scrollIntoView(): void {}
  addEventListener(type: string, listener: (event: unknown) => void): void {
    this.listeners.set(type, listener);
  }
  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
  }
  emit(type: string): void {
    this.listeners.get(type)?.({ preventDefault: () => undefined });
  }
  focus(): void {}
  reset(): void {}
}

type Hold = (path: string) => Promise<void> | undefined;

/** A file request with `places`, that lets tests hold back responses. */
class GuestServer {
  readonly uploads = new Set<string>();
  readonly aborted: string[] = [];
  refusals = 0;
  hold: Hold = () => undefined;
  isReachable = true;
  private lastId = 0;

  constructor(private readonly places: number) {}

  readonly fetch = async (path: string, init: { readonly method?: string }): Promise<Response> => {
    if (!this.isReachable) throw new TypeError("no connection");
    // The place is taken at once, and freed as late as possible.
    if (path.endsWith("/abort")) await this.hold(path);
    const response = this.respond(path, init.method ?? "GET");
    await this.hold(path);
    return response;
  };

  private respond(path: string, method: string): Response {
    if (method === "GET") return Response.json({ files_left: this.places - this.uploads.size });
    const [, fileId = "", action = ""] = /\/files\/([^/]+)\/([\w-]+)$/.exec(path) ?? [];
    if (action === "abort") {
      this.aborted.push(fileId);
      return this.uploads.delete(fileId) ? new Response(null, { status: 204 }) : problem(404, "link_not_found");
    }
    if (action === "uploaded-parts") return Response.json({ parts: [] });
    if (action === "parts") return Response.json({ parts: [{ method: "PUT", upload_url: "https://store.example.com/", headers: {} }] });
    if (action === "complete") return Response.json({ id: fileId });
    if (this.uploads.size >= this.places) {
      this.refusals++;
      return problem(409, "file_request_full");
    }
    const file_id = `file-${++this.lastId}`;
    this.uploads.add(file_id);
    return Response.json({ file_id, guest_token: "secret", part_count: 3, part_size_bytes: PART_BYTES }, { status: 201 });
  }
}

function problem(status: number, code: string): Response {
  return Response.json({ status, code, detail: `refused: ${code}` }, { status });
}

/** A request to S3 that waits, or is answered at once. */
class FakeXhr {
  static isHeld = true;
  readonly upload = { addEventListener: () => undefined };
  status = 0;
  private end = () => {};
  addEventListener(_: string, listener: () => void): void {
    this.end = listener;
  }
  open(): void {}
  setRequestHeader(): void {}
  send(): void {
    if (FakeXhr.isHeld) return;
    this.status = 200;
    queueMicrotask(this.end);
  }
  abort(): void {
    this.end();
  }
}

function film(name: string): File {
  const file = new File([], name);
  Object.defineProperty(file, "size", { value: 3 * PART_BYTES });
  file.slice = () => new Blob(["part"]);
  return file;
}

async function openPage(server: GuestServer) {
  const elements: Record<string, FakeElement> = {};
  const byId = (id: string) => (elements[id] ??= new FakeElement());
  vi.stubGlobal("document", { getElementById: byId, createElement: () => new FakeElement(), createElementNS: () => new FakeElement() });
  vi.stubGlobal("location", { pathname: "/r/token" });
  vi.stubGlobal("navigator", { onLine: true });
  vi.stubGlobal("sessionStorage", { getItem: () => null, setItem: () => undefined });
  vi.stubGlobal("addEventListener", () => undefined);
  vi.stubGlobal("XMLHttpRequest", FakeXhr);
  vi.stubGlobal("fetch", server.fetch);
  new Function(await readFile(SCRIPT, "utf8"))();
  const row = (index: number) => byId("sent").children[index]?.all ?? [];
  const button = (index: number, label: string) => row(index).find((child) => child.textContent === label && child.listeners.has("click"));
  return {
    choose(...files: File[]): void {
      byId("chosen").files = files;
      byId("chosen").emit("change");
    },
    button,
    press(index: number, label: string): void {
      const found = button(index, label);
      if (found === undefined || found.hidden) throw new Error(`there is no button ${label}`);
      found.emit("click");
    },
    text: (index: number) =>
      row(index)
        .find(({ className }) => className.startsWith("result"))
        ?.all.map(({ textContent }) => textContent)
        .join("") ?? "",
    status: () => byId("status").textContent,
  };
}

/** Return a hold for requests to these paths, and the function that lets their responses through. */
function holding(pattern: RegExp): { readonly hold: Hold; readonly release: () => void; readonly reached: () => boolean } {
  let release = () => {};
  let isReached = false;
  const held = new Promise<void>((resolve) => (release = resolve));
  const hold: Hold = (path) => {
    if (!pattern.test(path)) return undefined;
    isReached = true;
    return held;
  };
  return { hold, release: () => release(), reached: () => isReached };
}

beforeEach(() => {
  FakeXhr.isHeld = true;
});
afterEach(() => {
  vi.unstubAllGlobals();
});

const soon = () => new Promise((resolve) => setTimeout(resolve, 20));

describe("a cancelled upload of a guest", () => {
  test("is shown as cancelled, and can be sent again, once the server has freed its place", async () => {
    const server = new GuestServer(1);
    const page = await openPage(server);
    page.choose(film("film.mp4"));
    await vi.waitFor(() => expect(page.text(0)).toMatch(/^Sending/));
    await vi.waitFor(() => expect(server.uploads.size).toBe(1));
    const abort = holding(/\/abort$/);
    server.hold = abort.hold;
    page.press(0, "Cancel");
    await vi.waitFor(() => expect(abort.reached()).toBe(true));
    expect(page.text(0)).toBe("Cancelling …");
    expect(page.button(0, "Try again")?.hidden).toBe(true);
    abort.release();
    await vi.waitFor(() => expect(page.text(0)).toBe("Cancelled"));
    FakeXhr.isHeld = false;
    page.press(0, "Try again");
    await vi.waitFor(() => expect(page.text(0)).toMatch(/^Arrived and verified/));
    expect(server.aborted).toEqual(["file-1"]);
    expect(server.refusals).toBe(0);
  });

  test("is deleted when the response to its start arrives after the cancellation", async () => {
    const server = new GuestServer(1);
    const start = holding(/\/multipart$/);
    server.hold = start.hold;
    const page = await openPage(server);
    page.choose(film("film.mp4"));
    await vi.waitFor(() => expect(start.reached()).toBe(true));
    page.press(0, "Cancel");
    await soon();
    expect(page.text(0)).toBe("Cancelling …");
    start.release();
    await vi.waitFor(() => expect(page.text(0)).toBe("Cancelled"));
    expect(server.uploads.size).toBe(0);
    expect(page.button(0, "Try again")?.hidden).toBe(false);
  });

  test("leaves its place to the file that is sent next", async () => {
    const server = new GuestServer(1);
    const page = await openPage(server);
    page.choose(film("film.mp4"));
    await vi.waitFor(() => expect(server.uploads.size).toBe(1));
    const abort = holding(/\/abort$/);
    server.hold = (path) => abort.hold(path);
    page.press(0, "Cancel");
    FakeXhr.isHeld = false;
    page.choose(film("other.mp4"));
    await vi.waitFor(() => expect(abort.reached()).toBe(true));
    await soon();
    abort.release();
    await vi.waitFor(() => expect(page.text(1)).toMatch(/^Arrived and verified/));
    expect(server.refusals).toBe(0);
  });

  test("that waits for its turn is not started", async () => {
    const server = new GuestServer(9);
    const page = await openPage(server);
    page.choose(...["1", "2", "3", "4"].map(film));
    await vi.waitFor(() => expect(server.uploads.size).toBe(3));
    page.press(3, "Cancel");
    await vi.waitFor(() => expect(page.text(3)).toBe("Cancelled"));
    page.press(0, "Cancel");
    await vi.waitFor(() => expect(page.text(0)).toBe("Cancelled"));
    expect(server.uploads.size).toBe(2);
  });

  test("stays cancelled when a request of the upload is answered later", async () => {
    const server = new GuestServer(1);
    const list = holding(/uploaded-parts$/);
    server.hold = list.hold;
    const page = await openPage(server);
    page.choose(film("film.mp4"));
    await vi.waitFor(() => expect(list.reached()).toBe(true));
    page.press(0, "Cancel");
    list.release();
    await vi.waitFor(() => expect(page.text(0)).toBe("Cancelled"));
    await soon();
    expect(page.text(0)).toBe("Cancelled");
  });

  test("is continued by a retry when the server could not be reached", async () => {
    // The script's waits take no time.
    vi.stubGlobal("setTimeout", (callback: () => void) => setImmediate(callback));
    vi.stubGlobal("clearTimeout", clearImmediate);
    const server = new GuestServer(1);
    const page = await openPage(server);
    page.choose(film("film.mp4"));
    await vi.waitFor(() => expect(server.uploads.size).toBe(1));
    server.isReachable = false;
    page.press(0, "Cancel");
    await vi.waitFor(() => expect(page.text(0)).toBe("Cancelled. The server did not answer, and deletes what was sent later."));
    server.isReachable = true;
    FakeXhr.isHeld = false;
    page.press(0, "Try again");
    await vi.waitFor(() => expect(page.text(0)).toMatch(/^Arrived and verified/));
    expect([...server.uploads]).toEqual(["file-1"]);
  });
});
