/** The list of keyboard shortcuts. */

import { t } from "../core/language";
import { setSingleKeys, singleKeysEnabled } from "../core/keys";
import { s } from "../core/screen-texts";
import { Switch } from "../ui/choices";
import { Dialog } from "../ui/dialog";

export function KeysDialog({ onClose }: { readonly onClose: () => void }) {
  return (
    <Dialog title={t.keys.title} onClose={onClose}>
      <div class="dlg-text stack">
        <dl class="keylist">
          {s.keys.list.map(([keys, text]) => (
            <div key={keys}>
              <dt>
                {keys.split(" ").map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </dt>
              <dd>{text}</dd>
            </div>
          ))}
        </dl>
        <label class="row g3">
          <Switch id="single-keys" label={s.keys.single} isOn={singleKeysEnabled.value} onChange={setSingleKeys} />
          <span>{s.keys.single}</span>
        </label>
      </div>
    </Dialog>
  );
}
