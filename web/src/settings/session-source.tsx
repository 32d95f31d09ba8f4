/** Where a session was opened, and when it was used. */

import type { SessionInfo } from "@we-upload/client";
import { s } from "../core/screen-texts";

/** The place of the session, or its network where the server knows no place, before a text about its time. */
export function SessionSource({ session, time }: { readonly session: SessionInfo; readonly time: string }) {
  // Names of places can have another direction than the text.
  const source = session.place === null ? session.network && s.settings.network(session.network) : <bdi>{session.place}</bdi>;
  return source ? (
    <>
      {source} · {time}
    </>
  ) : (
    <>{time}</>
  );
}
