import { beforeEach, describe, expect, it, vi } from "vitest";

const ACCOUNT = { id: "one", email: "mara@example.com" };

const { browser, restore, endSession, serverSignOut, tellThatSignOutFailed } = vi.hoisted(() => ({
  browser: { mark: null as string | null, onMark: (_mark: string | null) => {}, onEnd: () => {}, reloads: 0 },
  restore: vi.fn(),
  endSession: vi.fn((leave: (isWanted?: boolean) => void) => leave()),
  serverSignOut: vi.fn(async () => {}),
  tellThatSignOutFailed: vi.fn(),
}));

vi.mock("../src/core/preferences", () => ({
  readPreference: () => browser.mark,
  writePreference: (_: string, mark: string | null) => {
    browser.mark = mark;
  },
  onPreferenceChange: (_: string, callback: (mark: string | null) => void) => {
    browser.onMark = callback;
  },
}));
vi.mock("../src/core/api", () => ({
  api: { accounts: { restore, usage: async () => ({}), signOut: serverSignOut } },
  onSessionEnd: (callback: () => void) => {
    browser.onEnd = callback;
  },
}));
vi.mock("../src/core/lazy", () => ({ loadScreens: async () => ({ endSession, tellThatSignOutFailed }) }));
vi.mock("../src/core/router", () => ({ navigate: () => {}, nextPath: () => "/" }));
vi.mock("../src/core/server-config", () => ({ serverConfig: { value: null } }));
vi.stubGlobal("window", { location: { reload: () => (browser.reloads += 1) } });

import { enter, sessionState, signOut, startSession, user, watchSession } from "../src/core/session";

/** Another tab writes the mark. */
async function otherTabWrites(mark: string | null): Promise<void> {
  browser.mark = mark;
  browser.onMark(mark);
  await settled();
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

describe("a tab that is signed in", () => {
  beforeEach(() => {
    browser.reloads = 0;
    restore.mockReset();
    watchSession();
    enter(ACCOUNT as Parameters<typeof enter>[0]);
  });

  it("stays signed in when another tab notices late that an earlier session has ended", async () => {
    restore.mockResolvedValue(ACCOUNT);
    await otherTabWrites("");
    expect(sessionState.value).toBe("signed-in");
    expect(browser.mark).toBe("one");
  });

  it("ends with the session that another tab found ended", async () => {
    restore.mockResolvedValue(null);
    await otherTabWrites("");
    expect(sessionState.value).toBe("signed-out");
  });

  it("stays as it is while the server cannot be reached", async () => {
    restore.mockRejectedValue(new Error("offline"));
    await otherTabWrites("");
    expect(sessionState.value).toBe("signed-in");
    // A page that is loaded now asks the server too.
    expect(browser.mark).toBe("one");
  });

  it("ends at once when the user signs out in another tab", async () => {
    await otherTabWrites(null);
    expect(sessionState.value).toBe("signed-out");
    expect(restore).not.toHaveBeenCalled();
    // Other tabs must not take it for the end of a session that was noticed late.
    expect(browser.mark).toBeNull();
  });

  it("does not take up a session again that the user ended while the server was asked", async () => {
    let answer = (_account: unknown) => {};
    restore.mockReturnValue(new Promise((resolve) => (answer = resolve)));
    await otherTabWrites("");
    await signOut();
    answer(ACCOUNT);
    await settled();
    expect(user.value).toBeNull();
    expect(browser.mark).toBeNull();
  });

  it("tells when the server could not end the session", async () => {
    serverSignOut.mockRejectedValueOnce(new Error("offline"));
    await signOut();
    expect(sessionState.value).toBe("signed-out");
    expect(tellThatSignOutFailed).toHaveBeenCalledOnce();
  });

  it("is loaded again for another account", async () => {
    await otherTabWrites("two");
    restore.mockResolvedValue({ ...ACCOUNT, id: "two" });
    await otherTabWrites("");
    expect(browser.reloads).toBe(2);
  });

  it("leaves a mark that other tabs verify when its session has ended, and none when the user signs out", async () => {
    browser.onEnd();
    await settled();
    expect(browser.mark).toBe("");
    enter(ACCOUNT as Parameters<typeof enter>[0]);
    endSession.mockImplementationOnce((leave) => leave(true));
    browser.onEnd();
    await settled();
    expect(browser.mark).toBeNull();
    enter(ACCOUNT as Parameters<typeof enter>[0]);
    await signOut();
    expect(browser.mark).toBeNull();
    expect(user.value).toBeNull();
  });
});

describe("a page load", () => {
  it.each([null, ""])("asks for no session after the mark %j, and keeps it", async (mark) => {
    browser.mark = mark;
    restore.mockReset();
    await startSession();
    expect(sessionState.value).toBe("signed-out");
    expect(restore).not.toHaveBeenCalled();
    expect(browser.mark).toBe(mark);
  });
});
