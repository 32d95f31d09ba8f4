/** What stands behind "More" in the tab bar. */

import { useEffect, useState } from "preact/hooks";
import { t } from "../core/language";
import { location } from "../core/router";
import { signOut, user } from "../core/session";
import { accountPlaces, mainPlaces, PlaceLink, QuotaMeter } from "../shell";
import { Dialog } from "../ui/dialog";
import { Icon } from "../ui/icon";

export function MoreSheet({ onClose }: { readonly onClose: () => void }) {
  const [shared, trash] = [mainPlaces()[1], mainPlaces()[4]];
  const path = location.value.path;
  const [openedAt] = useState(path);
  useEffect(() => {
    if (path !== openedAt) onClose();
  }, [path]);
  return (
    <Dialog title={t.nav.more} subtitle={user.value?.email} onClose={onClose}>
      <nav class="nav sheet-nav" aria-label={t.nav.more}>
        {[shared, trash, ...accountPlaces()].map((place) => place && <PlaceLink key={place.path} place={place} />)}
        <button
          type="button"
          onClick={() => {
            onClose();
            void signOut();
          }}
        >
          <Icon name="out" />
          {t.nav.signOut}
        </button>
      </nav>
      <QuotaMeter />
    </Dialog>
  );
}
