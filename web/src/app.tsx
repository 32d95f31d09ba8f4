/** Which screen an address shows. */

import type { ComponentType } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { BRAND_NAME } from "./core/brand";
import { language, t } from "./core/language";
import { loadScreens } from "./core/lazy";
import { location, navigate, nextPath, PUBLIC_PATHS, SIGNED_IN_PATHS } from "./core/router";
import { mustEnrol, sessionState, startSession } from "./core/session";
import { SignInScreen } from "./screens/sign-in-screens";
import { FilesScreen } from "./screens/files-screen";
import { SkeletonRows } from "./files/file-table";
import { Shell } from "./shell";
import { Empty, Note } from "./ui/controls";
import { closeAllDialogs, DialogHost } from "./ui/dialog-host";
import { Icon } from "./ui/icon";
import { MenuView } from "./ui/menu";
import { ToastView } from "./ui/toast-view";

type Screen = ComponentType;
/** The screen of an account that has to set up a second factor, at every address. */
const ENROLMENT = "enrolment";
type ScreenPath = typeof ENROLMENT | (typeof PUBLIC_PATHS)[number] | (typeof SIGNED_IN_PATHS)[number];
type StartPath = "/files" | "/sign-in";

const START_SCREENS: Readonly<Partial<Record<ScreenPath, Screen>> & Record<StartPath, Screen>> = {
  "/files": FilesScreen,
  "/sign-in": SignInScreen,
};

/** Screens that are loaded when the first of them is opened. */
const LAZY_SCREENS: Readonly<Record<Exclude<ScreenPath, StartPath>, (screens: Awaited<ReturnType<typeof loadScreens>>) => Screen>> = {
  "/sign-up": (screens) => screens.SignUpScreen,
  "/shared": (screens) => screens.SharedScreen,
  "/links": (screens) => screens.LinksScreen,
  "/requests": (screens) => screens.RequestsScreen,
  "/trash": (screens) => screens.TrashScreen,
  "/settings": (screens) => screens.SettingsScreen,
  "/admin": (screens) => screens.AdminScreen,
  "/forgot-password": (screens) => screens.ForgotPasswordScreen,
  "/reset-password": (screens) => screens.ResetPasswordScreen,
  "/verify-email": (screens) => screens.VerifyEmailScreen,
  "/invitation": (screens) => screens.InvitationScreen,
  [ENROLMENT]: (screens) => screens.EnrolmentScreen,
};

function ScreenAt({ path }: { readonly path: ScreenPath }) {
  const [screens, setScreens] = useState<Awaited<ReturnType<typeof loadScreens>> | null>(null);
  const [hasFailed, setFailed] = useState(false);
  const AtStart = START_SCREENS[path];
  useEffect(() => {
    if (AtStart !== undefined || screens !== null) return;
    setFailed(false);
    loadScreens().then(setScreens, () => setFailed(true));
  }, [path]);
  if (AtStart !== undefined) return <AtStart />;
  if (screens !== null) {
    const Lazy = LAZY_SCREENS[path as Exclude<ScreenPath, StartPath>](screens);
    return <Lazy />;
  }
  if (!hasFailed) return <SkeletonRows count={6} />;
  return (
    <Note tone="bad">
      <p>
        <strong>{t.problems.title}</strong> {t.problems.screen}
      </p>
      <button type="button" class="btn small up1" onClick={() => window.location.reload()}>
        <Icon name="retry" size="s" />
        {t.states.reload}
      </button>
    </Note>
  );
}

const TITLES: Readonly<Record<string, () => string>> = {
  "/files": () => t.nav.files,
  "/shared": () => t.nav.shared,
  "/links": () => t.nav.links,
  "/requests": () => t.nav.requests,
  "/trash": () => t.nav.trash,
  "/settings": () => t.nav.settings,
  "/admin": () => t.nav.admin,
};

function isOneOf<T extends string>(path: string, paths: readonly T[]): path is T {
  return (paths as readonly string[]).includes(path);
}

export function App() {
  const { path } = location.value;
  const state = sessionState.value;
  const isPublic = isOneOf(path, PUBLIC_PATHS);
  useEffect(() => {
    const title = TITLES[path]?.();
    if (title !== undefined) document.title = `${title} · ${BRAND_NAME}`;
  }, [path, language.value]);
  const shownPath = useRef(path);
  useLayoutEffect(() => {
    // Screen readers and the keyboard go on at the new screen. Before it is painted: a later move would take the focus from a field that
    // is being filled in.
    if (shownPath.current !== path) {
      const main = document.getElementById("main");
      (main?.querySelector<HTMLElement>("[autofocus]") ?? main)?.focus({ preventScroll: true });
    }
    shownPath.current = path;
  }, [path]);
  useEffect(() => {
    if (state === "signed-out" && !isPublic) {
      closeAllDialogs();
      const next = path === "/" || path === "/files" ? "" : `?next=${encodeURIComponent(path + window.location.hash)}`;
      navigate(`/sign-in${next}`, { replace: true });
    }
    if (state === "signed-in" && (path === "/" || path === "/sign-in" || path === "/sign-up")) navigate(nextPath(), { replace: true });
  }, [state, path]);
  return (
    <>
      <CurrentScreen key={language.value} />
      <DialogHost />
      <MenuView />
      <ToastView />
    </>
  );
}

function CurrentScreen() {
  const { path } = location.value;
  const state = sessionState.value;
  if (isOneOf(path, PUBLIC_PATHS) && (state !== "starting" || (path !== "/sign-in" && path !== "/sign-up"))) {
    return <ScreenAt path={path} />;
  }
  if (state === "unreachable") return <Unreachable />;
  if (mustEnrol()) return <ScreenAt path={ENROLMENT} />;
  if (state !== "signed-in") return <div class="skel-page" role="status" aria-label={t.states.loading} />;
  return <Shell>{isOneOf(path, SIGNED_IN_PATHS) ? <ScreenAt path={path} /> : path === "/" ? null : <NotFound />}</Shell>;
}

function Unreachable() {
  return (
    <main id="main" class="main alone">
      <Empty title={t.states.unreachable}>
        <p class="soft">{t.states.unreachableText}</p>
        <button type="button" class="btn primary" onClick={() => void startSession()}>
          {t.actions.retry}
        </button>
      </Empty>
    </main>
  );
}

function NotFound() {
  return (
    <Empty title={t.states.notFound}>
      <a class="btn" href="files">
        {t.states.toFiles}
      </a>
    </Empty>
  );
}
